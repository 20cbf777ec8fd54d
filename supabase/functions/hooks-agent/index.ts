import { handle } from "../_shared/hub.ts";

Deno.serve((request) => handle("hooks-agent", request));
