import { handle } from "../_shared/hub.ts";

Deno.serve((request) => handle("telegram-webhook", request));
