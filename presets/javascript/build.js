// Makes a component of echo.js: node build.js FILE. With FROZEN=LIBRARY (../frozen.c), the same bytes each time.
import { componentize } from "@bytecodealliance/componentize-js";
import child_process from "node:child_process";
import { writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

if (process.env.FROZEN) {
  // What stands for the clock that a preset has not got is the time of the build.
  Date.now = () => Date.UTC(2020, 0, 1);
  // The snapshot is taken by a program of its own, in whose memory the script's folders can be found.
  const spawnSync = child_process.spawnSync;
  child_process.spawnSync = (program, args, options) => {
    const made = args.find((arg) => arg.startsWith("--dir=")).slice("--dir=".length);
    const sources = args.find((arg) => arg.startsWith("--mapdir=/::")).slice("--mapdir=/::".length);
    return spawnSync(
      program,
      args.map((arg) => (arg === `--dir=${made}` ? `--mapdir=/made::${made}` : arg)),
      {
        ...options,
        env: { ...options.env, LD_PRELOAD: process.env.FROZEN },
        input: options.input.replaceAll(made, "/made").replaceAll(`${sources}/`, "/"),
      },
    );
  };
  syncBuiltinESMExports();
}

const { component } = await componentize({
  sourcePath: here("echo.js"),
  witPath: here("../wit"),
  worldName: "preset",
  // A preset gets nothing of this: with it, the component would import WASI and not be loaded.
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile(process.argv[2], component);
