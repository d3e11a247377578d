// What users meet first, once more on servers that ask for a key: nothing but the key may differ.
process.env["KS_CONFORMANCE_AUTH"] = "1";

for (const file of ["samples", "lifecycle", "documents", "observe", "triggers-http", "callers"]) await import(`./${file}.test.ts`);
