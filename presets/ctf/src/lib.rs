//! A challenge with a database, and a flag that is its own.
//!
//! Two containers share a Pod: the challenge, and PostgreSQL, which it finds at localhost:5432. The flag
//! is `PREFIX{…}` with 32 digits of HMAC-SHA256(seed, `flag:CHALLENGE`): whoever has the seed can check a
//! flag without asking. It stands in the Secret that only this Pod reads, as does the database's
//! password, and reaches the challenge as `FLAG`. Another database image is set by `images.database` in
//! the installation's values.

use ephemeron_preset::{Context, Preset, Refusal, Rendered, Value, export, json, secret};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Which challenge it is: another one has another flag.
    #[schemars(length(min = 1, max = 63))]
    challenge: String,
    /// The image of the challenge.
    #[schemars(length(min = 1, max = 1_024))]
    image: String,
    /// The port on which the challenge listens.
    #[serde(default = "port")]
    #[schemars(range(min = 1))]
    port: u16,
    /// What the flag begins with.
    #[serde(default = "prefix")]
    #[schemars(length(min = 1, max = 32))]
    prefix: String,
}

fn port() -> u16 {
    8080
}

fn prefix() -> String {
    "CTF".to_owned()
}

/// The database's own port, in the network that both containers share.
const DATABASE_PORT: u16 = 5432;

struct Ctf;

impl Preset for Ctf {
    type Parameters = Parameters;
    const USES: &'static [&'static str] = &["seed", "values"];

    fn examples() -> Vec<Value> {
        vec![json!({"challenge": "login", "image": "registry.example.com/challenges/login:1"})]
    }

    fn render(parameters: Parameters, context: &Context) -> Result<Rendered, Refusal> {
        let Parameters { challenge, image, port, prefix } = parameters;
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable(&prefix) || prefix.contains(['{', '}']) {
            let message = "the flag begins with printable ASCII characters except braces";
            return Err(Refusal::invalid("/prefix", "not-allowed", message));
        }
        if port == DATABASE_PORT {
            let message = "the database listens on port 5432 of the same network: take another one";
            return Err(Refusal::invalid("/port", "taken", message));
        }
        let password = json!({"name": "POSTGRES_PASSWORD", "valueFrom": secret("database-password")});
        let template = json!({
            "spec": {
                "containers": [
                    {
                        "name": "service",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "ports": [{"containerPort": port}],
                        "env": [
                            {"name": "PORT", "value": port.to_string()},
                            {"name": "FLAG", "valueFrom": secret("flag")},
                            {"name": "POSTGRES_HOST", "value": "localhost"},
                            password,
                        ],
                        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "50m"}},
                    },
                    {
                        "name": "database",
                        "image": context.image("database", "docker.io/library/postgres:17"),
                        "imagePullPolicy": "IfNotPresent",
                        "env": [
                            password,
                            {"name": "PGDATA", "value": "/var/lib/postgresql/data/here"},
                        ],
                        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "50m"}},
                        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
                    },
                ],
                "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "256Mi"}}],
            },
        });
        Ok(Rendered::new(port, template)
            .secret("flag", context.flag(&prefix, &format!("flag:{challenge}")))
            .secret("database-password", context.derive("database-password")))
    }
}

export!(Ctf);
