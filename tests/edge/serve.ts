// Serves all functions on one port as Supabase's gateway would: /functions/v1/<name>, and what is behind the name is the function's own.
import { handle } from "../../supabase/functions/_shared/hub.ts";

Deno.serve({ port: Number(Deno.env.get("PORT")), hostname: "127.0.0.1" }, (request) => {
  const name = new URL(request.url).pathname.split("/").at(3) ?? "";
  return handle(name, request);
});
