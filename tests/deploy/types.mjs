// Writes supabase/types/database.ts anew.
import { mkdir, writeFile } from "node:fs/promises";
import { database, fine, hub, project, repo, types } from "./support.mjs";

const { url } = await database("types");
await fine(hub("migrate", "--url", url));
await mkdir(`${repo}/supabase/types`, { recursive: true });
await writeFile(`${repo}/supabase/types/database.ts`, await types(await project(), url));
