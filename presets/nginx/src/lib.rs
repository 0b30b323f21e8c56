//! A static page, served by nginx.
//!
//! The page reaches the Pod as an environment variable, and an init container of the same image writes it
//! to where nginx looks: no second image is pulled, and the image's own start stays as it is. Nothing in
//! the page is replaced or run. Another image, which has a shell, is set by `images.nginx` in the
//! installation's values.

use ephemeron_preset::{Context, Preset, Refusal, Rendered, Value, export, json, literal};

/// A template has room for 64 KiB, in which `$` and quotes take two bytes.
const MOST_BYTES: usize = 32 * 1024;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The page in HTML, at most 32 KiB.
    #[schemars(length(min = 1, max = 32_768))]
    content: String,
}

struct Nginx;

impl Preset for Nginx {
    type Parameters = Parameters;
    const USES: &'static [&'static str] = &["values"];

    fn examples() -> Vec<Value> {
        vec![json!({"content": "<h1>Hello</h1>"})]
    }

    fn render(parameters: Parameters, context: &Context) -> Result<Rendered, Refusal> {
        if parameters.content.contains('\0') {
            return Err(Refusal::invalid("/content", "not-allowed", "a page cannot hold a zero byte"));
        }
        let size = parameters.content.len();
        if size > MOST_BYTES {
            let message = format!("the page has {size} bytes in UTF-8; it can have at most {MOST_BYTES}");
            return Err(Refusal::invalid("/content", "too-long", message));
        }
        let image = context.image("nginx", "docker.io/library/nginx:latest");
        let page = |read_only: bool| json!([{"name": "page", "mountPath": "/usr/share/nginx/html", "readOnly": read_only}]);
        let template = json!({
            "spec": {
                "initContainers": [{
                    "name": "page",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", "printf %s \"$PAGE\" >/usr/share/nginx/html/index.html"],
                    "env": [{"name": "PAGE", "value": literal(&parameters.content)}],
                    "volumeMounts": page(false),
                }],
                "containers": [{
                    "name": "service",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 80}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
                    "volumeMounts": page(true),
                }],
                "volumes": [{"name": "page", "emptyDir": {"sizeLimit": "1Mi"}}],
            },
        });
        Ok(Rendered::new(80, template))
    }
}

export!(Nginx);
