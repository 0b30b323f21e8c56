//! A web service of any image.
//!
//! Its environment and command are taken literally: Kubernetes does not replace `$(NAME)` in them. The
//! variable `PORT` tells the service its port, unless the parameters set one of that name. The size
//! class says how much processor and memory it gets.

use std::collections::BTreeMap;

use ephemeron_preset::{Context, Issue, Preset, Refusal, Rendered, Value, export, json, literal};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The image to run, such as docker.io/library/nginx:1.29.
    #[schemars(length(min = 1, max = 1_024))]
    image: String,
    /// The port on which the service listens.
    #[serde(default = "eighty")]
    #[schemars(range(min = 1))]
    port: u16,
    /// Environment variables.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// The program and its arguments, in place of the image's own.
    #[serde(default)]
    #[schemars(length(max = 256))]
    command: Vec<String>,
    /// How much processor and memory it gets.
    #[serde(default)]
    size: Size,
    /// A path that answers with 200 once the service is ready.
    #[schemars(length(min = 1, max = 1_024))]
    ready: Option<String>,
}

#[derive(Clone, Copy, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Size {
    /// Half a processor and 256 MiB.
    #[default]
    Small,
    /// A processor and 1 GiB.
    Medium,
    /// Two processors and 4 GiB.
    Large,
}

impl Size {
    fn resources(self) -> Value {
        let (cpu, memory, most_cpu, most_memory) = match self {
            Self::Small => ("50m", "64Mi", "500m", "256Mi"),
            Self::Medium => ("100m", "256Mi", "1", "1Gi"),
            Self::Large => ("200m", "1Gi", "2", "4Gi"),
        };
        json!({
            "requests": {"cpu": cpu, "memory": memory},
            "limits": {"cpu": most_cpu, "memory": most_memory},
        })
    }
}

fn eighty() -> u16 {
    80
}

struct Web;

impl Preset for Web {
    type Parameters = Parameters;

    fn examples() -> Vec<Value> {
        vec![
            json!({"image": "docker.io/library/nginx:latest"}),
            json!({
                "image": "docker.io/library/python:3",
                "command": ["python3", "-m", "http.server", "8000"],
                "port": 8000,
                "environment": {"PYTHONUNBUFFERED": "1"},
                "size": "medium",
                "ready": "/",
            }),
        ]
    }

    fn render(parameters: Parameters, _context: &Context) -> Result<Rendered, Refusal> {
        let Parameters { image, port, environment, command, size, ready } = parameters;
        let wrong: Vec<_> = environment.iter().filter_map(|(name, value)| fault(name, value)).collect();
        if !wrong.is_empty() {
            return Err(Refusal::InvalidParameters(wrong));
        }
        let variable = |(name, value): (&str, &str)| json!({"name": name, "value": literal(value)});
        let told = port.to_string();
        let own = (!environment.contains_key("PORT")).then_some(("PORT", told.as_str()));
        let set = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut container = json!({
            "name": "service",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": port}],
            "env": own.into_iter().chain(set).map(variable).collect::<Vec<_>>(),
            "resources": size.resources(),
        });
        if !command.is_empty() {
            container["command"] = command.iter().map(|word| Value::from(literal(word))).collect();
        }
        if let Some(path) = ready {
            container["readinessProbe"] = json!({"httpGet": {"path": path, "port": port}});
        }
        Ok(Rendered::new(port, json!({"spec": {"containers": [container]}})))
    }
}

/// What is wrong with a variable: names are those that Kubernetes takes since 1.32.
fn fault(name: &str, value: &str) -> Option<Issue> {
    let message = if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
    {
        "the name of a variable has printable ASCII characters except =, and at least one"
    } else if value.contains('\0') {
        "a variable cannot hold a zero byte"
    } else {
        return None;
    };
    Some(Issue::below("/environment", name, "not-a-variable", message))
}

export!(Web);
