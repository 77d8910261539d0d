// What @asyncapi/parser says of the AsyncAPI document: 0 is an error, 1 a warning, 2 a piece of information.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const { severity, code, message, path } of diagnostics) console.log(severity, code, message, path.join("."));
if (document === undefined || diagnostics.some(({ severity }) => severity < 1)) process.exit(1);
