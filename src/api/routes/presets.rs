//! Presets: what can be asked for.

use std::{sync::Arc, time::Duration};

use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Path, payload::Json, types::Example};
use serde_json::{Value, json};

use super::{Tag, a_preset};
use crate::api::{
    Api,
    body::Body,
    caller::{Authorized, Caller},
    catalogue::{self, Asking},
    json::Fields,
    problem::{AWAY, BAD, BODY, FORBIDDEN, MISSING, PARAMETERS, Problem, Refused, UNKNOWN},
};

/// The operations.
pub struct Presets;

/// A preset: what can be asked for by its name.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none, example)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Its own version, where it has one.
    pub version: Option<String>,
    /// The JSON Schema of its parameters.
    pub parameters: Fields,
    /// Parameters that it takes.
    pub examples: Vec<Fields>,
}

impl Example for Preset {
    fn example() -> Self {
        Self {
            name: "nginx".into(),
            title: "A page of your own".into(),
            version: Some("1.0.0".into()),
            parameters: Fields::from(
                json!({"type": "object", "properties": {"content": {"type": "string"}}}),
            ),
            examples: vec![Fields::from(json!({"content": "Hello"}))],
        }
    }
}

impl From<catalogue::Preset> for Preset {
    fn from(preset: catalogue::Preset) -> Self {
        Self {
            name: preset.name,
            title: preset.title,
            version: preset.version,
            parameters: preset.parameters.into(),
            examples: preset.examples.into_iter().map(Into::into).collect(),
        }
    }
}

/// All presets.
#[derive(Debug, Object)]
#[oai(rename = "PresetList", example)]
pub struct List {
    /// The presets that the app may use, by name.
    pub presets: Vec<Preset>,
}

impl Example for List {
    fn example() -> Self {
        Self { presets: vec![Preset::example()] }
    }
}

#[derive(ApiResponse)]
enum Listed {
    /// The presets that the app may use.
    #[oai(status = 200)]
    Ok(Json<List>),
}

#[derive(ApiResponse)]
enum Found {
    /// The preset.
    #[oai(status = 200)]
    Ok(Json<Preset>),
}

/// Parameters to try.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct Preview {
    /// The parameters.
    #[oai(nullable)]
    pub parameters: Option<Fields>,
}

impl Example for Preview {
    fn example() -> Self {
        Self { parameters: None }
    }
}

/// What a preset makes of parameters.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Rendered {
    /// The pod template (a Kubernetes PodTemplateSpec) as this installation's policy lets it through.
    pub template: Fields,
    /// The port that is routed to.
    pub port: u16,
    /// What the preset wants to be known.
    pub warnings: Vec<String>,
    /// The names of the values that are secret.
    pub secrets: Vec<String>,
}

impl Example for Rendered {
    fn example() -> Self {
        Self {
            template: Fields::from(json!({"spec": {"containers": [{"name": "service", "image": "nginx"}]}})),
            port: 80,
            warnings: Vec::new(),
            secrets: Vec::new(),
        }
    }
}

#[derive(ApiResponse)]
enum Shown {
    /// What the preset makes of the parameters.
    #[oai(status = 200)]
    Ok(Json<Rendered>),
}

#[expect(clippy::unused_async, reason = "operations are asynchronous")]
#[OpenApi(tag = "Tag::Presets")]
impl Presets {
    /// List presets
    ///
    /// Those that the app may use, with the JSON Schema of their parameters.
    #[oai(path = "/presets", method = "get", operation_id = "listPresets")]
    async fn list(&self, api: Data<&Arc<Api>>, caller: Authorized) -> Result<Listed, Refused<{ UNKNOWN }>> {
        let mut presets = api.catalogue.list();
        presets.retain(|preset| caller.0.app.may_use(&preset.name));
        Ok(Listed::Ok(Json(List { presets: presets.into_iter().map(Into::into).collect() })))
    }

    /// Read a preset
    ///
    /// Its parameters as a JSON Schema, and examples of them.
    #[oai(path = "/presets/:name", method = "get", operation_id = "readPreset")]
    async fn read(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The preset.
        #[oai(example = "a_preset")]
        name: Path<String>,
    ) -> Result<Found, Refused<{ BAD | UNKNOWN | MISSING | AWAY }>> {
        may_use(&caller.0, &name)?;
        Ok(Found::Ok(Json(api.catalogue.get(&name)?.into())))
    }

    /// Try parameters
    ///
    /// What would run with them. Nothing is created, and what is secret is not shown. It has to be granted to
    /// the app.
    #[oai(path = "/presets/:name/render", method = "post", operation_id = "renderPreset")]
    async fn render(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The preset.
        #[oai(example = "a_preset")]
        name: Path<String>,
        body: Body<Preview>,
    ) -> Result<Shown, Refused<{ BODY | UNKNOWN | FORBIDDEN | MISSING | PARAMETERS | AWAY }>> {
        let (caller, Body(Preview { parameters })) = (&caller.0, body);
        if !caller.app.render {
            return Err(Problem::forbidden("this app may not try presets: EPHEMERON_CONFIG grants it").into());
        }
        may_use(caller, &name)?;
        let asking = Asking {
            id: "preview",
            namespace: &api.settings.namespace,
            owner: caller.user.as_ref().map(|user| user.name.as_str()),
            group: caller.user.as_ref().and_then(|user| user.group.as_deref()),
            lifetime: Some(Duration::from_hours(1)),
        };
        let parameters = parameters.map(|Fields(parameters)| Value::Object(parameters));
        let made = api.catalogue.render(&name, parameters.as_ref(), &asking).await?;
        Ok(Shown::Ok(Json(Rendered {
            template: made.template.into(),
            port: made.port,
            warnings: made.warnings,
            secrets: made.secrets,
        })))
    }
}

/// To an app, those that it may not use are not there.
fn may_use(caller: &Caller, name: &str) -> Result<(), Problem> {
    if caller.app.may_use(name) { Ok(()) } else { Err(catalogue::no_such(name)) }
}
