// A service that answers every request with what was asked: method, path and headers as JSON.
// It helps to see what a gateway makes of a request. Another image, which has Node.js, is set by
// `images.node` in the installation's values.

const apiVersion = "preset.ephemeron/v1";

const schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  properties: {
    status: {
      description: "The status of every answer.",
      type: "integer",
      minimum: 200,
      maximum: 599,
      default: 200,
    },
  },
};

// What runs in the Pod.
const program = `
require("node:http").createServer((request, response) => {
  const { method, url, headers } = request;
  response.writeHead(Number(process.env.STATUS), { "content-type": "application/json" });
  response.end(JSON.stringify({ method, url, headers }) + "\\n");
}).listen(8080);
process.on("SIGTERM", () => process.exit());
`.trim();

// Key by key, what users got wrong; the whole list is thrown at once.
function read(text) {
  let parameters;
  try {
    parameters = JSON.parse(text);
  } catch (error) {
    throw invalid([["", "not-json", `this is not JSON: ${error.message}`]]);
  }
  if (typeof parameters !== "object" || parameters === null || Array.isArray(parameters)) {
    throw invalid([["", "wrong-type", "the parameters must be an object"]]);
  }
  const { status = 200, ...others } = parameters;
  const faults = Object.keys(others).map((name) => [
    `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`,
    "unknown",
    "there is no such parameter; there is status",
  ]);
  if (!Number.isInteger(status)) {
    faults.push(["/status", "wrong-type", "it must be a whole number"]);
  } else if (status < 200 || status > 599) {
    faults.push(["/status", status < 200 ? "too-small" : "too-large", "it must be from 200 to 599"]);
  }
  if (faults.length > 0) throw invalid(faults);
  return { status };
}

// What is thrown is the refusal itself.
function invalid(faults) {
  const issues = faults.slice(0, 32).map(([pointer, code, message]) => ({ pointer, code, message }));
  return { tag: "invalid-parameters", val: issues };
}

function rendered(parameters, context) {
  const { status } = read(parameters);
  const image = context.values?.images?.node ?? "docker.io/library/node:22-alpine";
  const container = {
    name: "service",
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["node", "-e", program],
    env: [{ name: "STATUS", value: String(status) }],
    ports: [{ containerPort: 8080 }],
    readinessProbe: { tcpSocket: { port: 8080 } },
  };
  return { apiVersion, port: 8080, template: { spec: { containers: [container] } } };
}

export const template = {
  describe() {
    return JSON.stringify({
      apiVersion,
      name: "echo",
      title: "A service that answers with what it was asked",
      version: "0.1.0",
      parameters: schema,
      examples: [{}, { status: 503 }],
      uses: ["values"],
    });
  },

  render(parameters, context) {
    try {
      return JSON.stringify(rendered(parameters, JSON.parse(context)));
    } catch (error) {
      // An Error that nobody expected would be a trap, of which nobody learns why.
      throw error instanceof Error ? { tag: "internal", val: `${error}\n${error.stack}` } : error;
    }
  },
};
