import { handle } from "../_shared/hub.ts";

Deno.serve((request) => handle("answer", request));
