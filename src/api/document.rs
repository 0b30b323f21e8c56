//! The OpenAPI document: made from the types of the operations.

use poem_openapi::{ExtraHeader, LicenseObject, OpenApiService};
use serde_json::{Map, Value, json};

use super::routes::{Auth, Collection, Events, Logs, Presets, Services};

/// What the API is, at the head of its document.
const DESCRIPTION: &str = "\
Services that live for a while: a request names a preset and a lifetime, a moment later the service answers at \
its own host, and when its time is over everything of it is gone.

The API is for backends that act for their users. `POST /auth` with the app's key gives a token for one user, \
which is valid for five minutes; every other request carries it as `Authorization: Bearer TOKEN`.";

/// All operations.
pub type Operations = (Auth, Collection, Services, Events, Logs, Presets);

/// The operations as a service of poem.
#[must_use]
pub fn service() -> OpenApiService<Operations, ()> {
    let operations = (Auth, Collection, Services, Events, Logs, Presets);
    OpenApiService::new(operations, "Ephemeron", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .extra_response_header::<String, _>(
            ExtraHeader::new("X-Request-Id").description("The request's id, by which the log knows it."),
        )
}

/// The operations that an id of a new service is for.
const OF_ONE: [&str; 6] =
    ["readService", "extendService", "deleteService", "followService", "readLogs", "readSecrets"];

/// The document as JSON. What poem-openapi cannot say is added: that objects in requests have no further
/// fields, and what the id of a new service is for.
#[must_use]
pub fn text() -> String {
    let mut document: Value = serde_json::from_str(&service().spec()).unwrap_or_default();
    tidy(&mut document);
    let links = OF_ONE
        .map(|id| (id.to_owned(), json!({"operationId": id, "parameters": {"id": "$response.body#/id"}})));
    if let Some(Value::Object(created)) = document.pointer_mut("/paths/~1/post/responses/202") {
        created.insert("links".into(), Map::from_iter(links).into());
    }
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        if let (true, Value::Object(schema)) = (super::routes::CLOSED.contains(&name.as_str()), schema) {
            schema.insert("additionalProperties".into(), false.into());
        }
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// The page of Swagger UI, with this document in it.
#[must_use]
pub fn page(text: &str) -> String {
    let service = service();
    service.swagger_ui_html().replace(&service.spec(), text)
}

/// Takes out what generators of clients stumble over, and what says nothing: descriptions in `allOf` that are
/// beside it, too, and the character set of media types.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(all)) = fields.get_mut("allOf") {
                all.retain(|one| {
                    one.as_object().is_none_or(|one| one.len() != 1 || !one.contains_key("description"))
                });
            }
            if let Some(Value::Object(content)) = fields.get_mut("content") {
                let plain = |name: String| name.split(';').next().unwrap_or_default().to_owned();
                *content = std::mem::take(content).into_iter().map(|(name, of)| (plain(name), of)).collect();
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Which methods each path has.
#[derive(Clone, Debug)]
pub struct Allowed(Vec<(Vec<String>, String)>);

impl Allowed {
    /// As the document says.
    #[must_use]
    pub fn of(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let paths = document["paths"].as_object().into_iter().flatten();
        let mut all: Vec<_> = paths
            .map(|(path, operations)| {
                let methods = operations.as_object().into_iter().flat_map(Map::keys);
                (segments(path), methods.map(|method| method.to_uppercase()).collect::<Vec<_>>().join(", "))
            })
            .chain(["/openapi.json", "/docs"].map(|path| (segments(path), "GET".to_owned())))
            .collect();
        // What is written out is looked at before what stands for anything.
        all.sort_by_key(|(path, _)| path.iter().filter(|part| part.starts_with('{')).count());
        Self(all)
    }

    /// The methods of the path that fits.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        let asked = segments(path);
        let fits = |pattern: &[String]| {
            pattern.len() == asked.len()
                && pattern.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked)
        };
        self.0
            .iter()
            .find(|(pattern, _)| fits(pattern))
            .map(|(_, methods)| methods.clone())
            .unwrap_or_default()
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_code() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(committed == text(), "openapi/openapi.json is not that of the code: run `make generate`");
    }

    #[test]
    fn every_operation_says_all_of_itself() {
        let document: Value = serde_json::from_str(&text()).expect("JSON");
        let mut ids = Vec::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let at = format!("{method} {path}");
                for part in ["operationId", "summary", "description"] {
                    assert!(operation[part].as_str().is_some_and(|text| !text.is_empty()), "{at}: {part}");
                }
                assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{at}");
                assert_eq!(operation["security"].is_array(), !path.starts_with("/auth"), "{at}");
                for (status, answer) in operation["responses"].as_object().expect("answers") {
                    let says = answer["description"].as_str().unwrap_or_default();
                    assert!(!says.is_empty(), "{at}: {status} has no description");
                    let content = answer["content"].as_object();
                    assert_eq!(content.is_some_and(|all| !all.is_empty()), status != "204", "{at}: {status}");
                    let is_plain = |name: &String| !name.contains(';');
                    assert!(content.is_none_or(|all| all.keys().all(is_plain)), "{at}: {status}");
                    assert!(answer["headers"]["X-REQUEST-ID"].is_object(), "{at}: {status}");
                }
                ids.push(operation["operationId"].as_str().unwrap_or_default().to_owned());
            }
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id is there twice: {ids:?}");
    }

    #[test]
    fn the_page_has_the_document() {
        assert!(page(&text()).contains(&text()));
        assert!(!text().contains("</"), "it would end the page's script");
    }

    #[test]
    fn links_lead_to_operations_on_one_service() {
        let document: Value = serde_json::from_str(&text()).expect("JSON");
        let links = document["paths"]["/"]["post"]["responses"]["202"]["links"].as_object().expect("links");
        let paths = document["paths"].as_object().expect("paths");
        let of_one = paths.iter().filter(|(path, _)| path.starts_with("/{id}"));
        let operations = of_one.flat_map(|(_, operations)| operations.as_object().into_iter().flatten());
        let mut wanted: Vec<_> =
            operations.map(|(_, operation)| operation["operationId"].as_str().expect("an id")).collect();
        wanted.sort_unstable();
        assert_eq!(links.keys().map(String::as_str).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn schemas_are_of_one_part_each() {
        let document: Value = serde_json::from_str(&text()).expect("JSON");
        for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                let parts = property["allOf"].as_array();
                assert!(
                    parts.is_none_or(|parts| parts.len() == 1 && parts[0]["$ref"].is_string()),
                    "{name}.{field}: {parts:?}"
                );
            }
        }
    }

    #[test]
    fn closed_objects_are_those_of_the_document() {
        let document: Value = serde_json::from_str(&text()).expect("JSON");
        for name in super::super::routes::CLOSED {
            assert_eq!(document["components"]["schemas"][name]["additionalProperties"], false, "{name}");
        }
    }

    #[test]
    fn paths_have_their_methods() {
        let allowed = Allowed::of(&text());
        assert_eq!(allowed.at("/auth"), "POST");
        assert_eq!(allowed.at("/presets"), "GET");
        assert_eq!(allowed.at("/docs"), "GET");
        for method in ["GET", "PATCH", "DELETE"] {
            assert!(allowed.at("/some-id").contains(method));
        }
        assert_eq!(allowed.at("/a/b/c/d"), "");
    }
}
