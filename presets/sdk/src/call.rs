//! The two functions of the interface, from text to text: they need no WebAssembly.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::{API_VERSION, Context, Named, Preset, Refusal, parameters};

/// What the preset is: the document `describe.schema.json`.
#[must_use]
pub fn describe<P: Named>() -> String {
    let identity = P::IDENTITY;
    let mut document = json!({
        "apiVersion": API_VERSION,
        "name": identity.name,
        "version": identity.version,
        "parameters": schema::<P>(),
        "examples": P::examples(),
        "uses": P::USES,
    });
    if !identity.title.is_empty() {
        document["title"] = identity.title.into();
    }
    document.to_string()
}

/// The pod template for these parameters: the document `rendered.schema.json`.
///
/// # Errors
/// Why there is none.
pub fn render<P: Preset>(parameters: &str, context: &str) -> Result<String, Refusal> {
    let context: Context = serde_json::from_str(context)
        .map_err(|error| Refusal::Internal(format!("the context cannot be read: {error}")))?;
    let parameters = parameters::read(parameters, &schema::<P>()).map_err(Refusal::InvalidParameters)?;
    Ok(P::render(parameters, &context)?.into_json().to_string())
}

fn schema<P: Preset>() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<P::Parameters>();
    let mut schema = schema.to_value();
    if let Some(schema) = schema.as_object_mut() {
        // The name of a Rust type means nothing to users.
        schema.remove("title");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Rendered, secret};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        /// What to greet.
        who: String,
        #[serde(default)]
        fail: Option<String>,
    }

    struct Greeting;

    impl Preset for Greeting {
        type Parameters = Parameters;
        const USES: &'static [&'static str] = &["seed"];

        fn examples() -> Vec<Value> {
            vec![json!({"who": "you"})]
        }

        fn render(parameters: Parameters, context: &Context) -> Result<Rendered, Refusal> {
            match parameters.fail.as_deref() {
                Some("rule") => return Err(Refusal::rejected("rude", "be nice")),
                Some(number) => {
                    number.parse::<u8>()?;
                }
                None => {}
            }
            let variables = json!([{"name": "KEY", "valueFrom": secret("key")}]);
            let container = json!({"name": "service", "image": parameters.who, "env": variables});
            Ok(Rendered::new(80, json!({"spec": {"containers": [container]}}))
                .secret("key", context.derive("key"))
                .warning("careful"))
        }
    }

    impl Named for Greeting {
        const IDENTITY: Identity = Identity { name: "greeting", version: "1", title: "Greets" };
    }

    const CONTEXT: &str = r#"{"apiVersion":"preset.ephemeron/v1","name":"a","namespace":"b",
        "seed":"0000000000000000000000000000000000000000000000000000000000000000"}"#;

    #[test]
    fn the_description_is_made_of_the_type() {
        let description: Value = serde_json::from_str(&describe::<Greeting>()).expect("JSON");
        assert_eq!(
            description,
            json!({
                "apiVersion": "preset.ephemeron/v1",
                "name": "greeting",
                "title": "Greets",
                "version": "1",
                "uses": ["seed"],
                "examples": [{"who": "you"}],
                "parameters": {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["who"],
                    "properties": {
                        "who": {"type": "string", "description": "What to greet."},
                        "fail": {"type": ["string", "null"], "default": null},
                    },
                },
            })
        );
    }

    #[test]
    fn what_is_rendered_is_the_document() {
        let rendered = render::<Greeting>(r#"{"who":"you"}"#, CONTEXT).expect("rendered");
        let reference = json!({"secretKeyRef": {"name": "ephemeron-secrets", "key": "key"}});
        assert_eq!(
            serde_json::from_str::<Value>(&rendered).expect("JSON"),
            json!({
                "apiVersion": "preset.ephemeron/v1",
                "port": 80,
                "template": {"spec": {"containers": [
                    {"name": "service", "image": "you", "env": [{"name": "KEY", "valueFrom": reference}]},
                ]}},
                "warnings": ["careful"],
                "secrets": {"key": Context::example("a").derive("key")},
            })
        );
        assert_eq!(render::<Greeting>(r#"{"who":"you"}"#, CONTEXT).expect("rendered"), rendered);
    }

    #[test]
    fn what_is_wrong_is_said_by_its_kind() {
        let refused = |parameters, context| render::<Greeting>(parameters, context).expect_err(parameters);
        let invalid = refused(r#"{"fial":"x"}"#, CONTEXT);
        let Refusal::InvalidParameters(issues) = invalid else { panic!("{invalid:?}") };
        let found: Vec<_> =
            issues.iter().map(|issue| (issue.pointer.as_str(), issue.code.as_str())).collect();
        assert_eq!(found, [("/who", "missing"), ("/fial", "unknown")]);
        assert_eq!(refused(r#"{"who":"a","fail":"rule"}"#, CONTEXT), Refusal::rejected("rude", "be nice"));
        assert_eq!(
            refused(r#"{"who":"a","fail":"x"}"#, CONTEXT),
            Refusal::Internal("invalid digit found in string".into())
        );
        assert!(matches!(refused(r#"{"who":"a"}"#, "{}"), Refusal::Internal(_)));
    }
}
