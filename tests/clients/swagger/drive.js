// Somebody at Swagger UI: gets a token, authorizes, creates a service, waits for it, and opens it.
// An argument names the file for a screenshot of the page.

import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { chromium } from "playwright-core";

const need = (name) => process.env[name] ?? assert.fail(`${name} is not set`);
const url = need("API_URL");
// What can be slow here is a busy machine.
const timeout = 120_000;

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox", // it runs as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Names below `localhost` have no DNS.
    `--host-resolver-rules=MAP *.localhost ${new URL(need("GATEWAY")).host}`,
  ],
});
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 1030 } });
  page.setDefaultTimeout(timeout);
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(error.message));

  // Opens an operation, fills in what it is given, executes it, and returns status and body of the answer.
  const execute = async (id, { body, ...parameters } = {}) => {
    const block = page.locator(`.opblock[id$="-${id}"]`);
    await block.locator(".opblock-summary-control").click();
    await block.getByRole("button", { name: "Try it out" }).click();
    if (body) await block.locator("textarea.body-param__text").fill(JSON.stringify(body));
    for (const [name, value] of Object.entries(parameters)) {
      await block.locator(`tr[data-param-name="${name}"] input`).fill(value);
    }
    const answered = page.waitForResponse((answer) => new URL(answer.url()).origin === url, { timeout });
    await block.getByRole("button", { name: "Execute" }).click();
    const answer = await answered;
    // What the page shows is what came.
    const shown = block.locator(".live-responses-table .response");
    await shown.getByText(String(answer.status())).first().waitFor();
    const json = await answer.json();
    await shown.locator(".response-col_description").getByText(Object.keys(json)[0]).first().waitFor();
    return { status: answer.status(), json, block };
  };

  await page.goto(`${url}/docs`);
  await page.getByRole("heading", { name: /Ephemeron/ }).waitFor();

  // Without a token, nothing is told.
  assert.equal((await execute("listPresets")).status, 401);

  const login = await execute("login", { body: { app: need("APP"), key: need("KEY"), uid: "swagger" } });
  assert.equal(login.status, 200);
  await page.locator(".auth-wrapper .btn.authorize").click();
  const dialog = page.locator(".dialog-ux");
  await dialog.locator("input").fill(login.json.token);
  await dialog.getByRole("button", { name: /Apply credentials|^Authorize$/ }).click();
  await dialog.getByRole("button", { name: "Close" }).click();

  // The example of the document, as it stands there.
  const created = await execute("createService");
  assert.equal(created.status, 202, JSON.stringify(created.json));
  const { id } = created.json;
  // On a busy machine it may be failing for a moment before it can be reached.
  const headers = { Authorization: `Bearer ${login.json.token}` };
  const answer = async () => (await fetch(`${url}/${id}?wait=60`, { headers })).json();
  const patience = Date.now() + 200_000;
  for (let service = await answer(); service.phase !== "Available"; service = await answer()) {
    assert.ok(Date.now() < patience, JSON.stringify(service));
    await setTimeout(1000);
  }
  const read = await execute("readService", { id, wait: "120" });
  assert.equal(read.json.phase, "Available", JSON.stringify(read.json));

  const [, , picture] = process.argv;
  if (picture) {
    await read.block.evaluate((block) => block.scrollIntoView());
    await page.screenshot({ path: picture });
  }

  // Nothing but the 401 above went wrong; a Content-Security-Policy that is too strict would be told here.
  assert.deepEqual(errors.filter((text) => !/status of 401/.test(text)), []);

  const service = await browser.newPage();
  await service.goto(read.json.url, { timeout });
  await service.getByRole("heading", { name: "Welcome to nginx!" }).waitFor({ timeout });

  assert.equal((await fetch(`${url}/${id}`, { method: "DELETE", headers })).status, 204);
  console.log(`swagger: ${id} was created in Swagger UI and opened at ${read.json.url}`);
} finally {
  await browser.close();
}
