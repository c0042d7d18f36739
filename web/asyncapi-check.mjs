// Reads an AsyncAPI document on standard input and prints what is wrong with it; exit status 1 when anything is.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf-8"));
const wrong = diagnostics.filter(({ severity }) => severity <= 1);
for (const { code, message, path } of wrong) console.log(`${code} at ${path.join(".")}: ${message}`);
process.exitCode = document === undefined || wrong.length ? 1 : 0;
