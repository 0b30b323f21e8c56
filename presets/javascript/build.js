// Makes a component of echo.js: node build.js FILE
import { componentize } from "@bytecodealliance/componentize-js";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const { component } = await componentize({
  sourcePath: here("echo.js"),
  witPath: here("../wit"),
  worldName: "preset",
  // A preset gets nothing of this: with it, the component would import WASI and not be loaded.
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile(process.argv[2], component);
