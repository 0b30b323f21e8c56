//! What is said of a preset without a request, and what failures mean.

use ephemeron_preset_host::error::Issue;
use http::{Request, Response};
use kube::client::Body;
use serde_json::json;

use super::*;
use crate::controller::fixtures;

/// What is said without a request: the client answers none.
async fn said(status: Value, living: Option<Living>) -> Said {
    let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
    ephemeron.spec.service = None;
    ephemeron.spec.preset = Some(Preset { name: "web".into(), ..Preset::default() });
    ephemeron.status = serde_json::from_value(status).expect("a status");
    let (service, _) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let (client, caches) = (Client::new(service, "default"), Caches::default());
    let settings = fixtures::settings();
    let presets = Presets::default();
    presets.said(&client, &caches, &settings, &Arc::new(ephemeron), living).await.expect("no request")
}

#[tokio::test]
async fn who_lives_keeps_its_port_whatever_becomes_of_the_record() {
    let record = json!({"preset": {"port": 80, "digest": "00"}});
    let (with, without) = (Some(Living { port: Some(81) }), Some(Living { port: None }));
    for (status, living, wanted) in [
        (record.clone(), with, Some(80)),
        (record, without, Some(80)),
        (json!({}), with, Some(81)),
        (json!({"preset": {"port": 0}}), with, Some(81)),
        (json!({}), without, None),
    ] {
        let found = match said(status.clone(), living).await {
            Said::Run(_, rendering) => Some(rendering.rendered.port),
            Said::Nothing(finding, Again::Later) => {
                assert_eq!(finding.reason, Reason::PresetRecordLost);
                None
            }
            _ => panic!("{status}"),
        };
        assert_eq!(found, wanted, "{status}");
    }
    let asked = said(json!({}), None).await;
    assert!(matches!(asked, Said::Nothing(finding, _) if finding.reason == Reason::PresetNotFound));
}

#[test]
fn all_that_is_wrong_with_parameters_is_told() {
    let long = |number: usize| Issue {
        pointer: format!("/{number}/{}", "p".repeat(5_000)),
        code: "type".into(),
        message: "m".repeat(5_000),
    };
    let refusal = Refusal::InvalidParameters((0..100).map(long).collect()).bounded();
    let (finding, _) = finding("web", &RenderError::Call(refusal.into()));
    assert!(finding.message.contains("/31/") && finding.message.ends_with("and 68 others"));
    assert!(finding.message.len() < 32_768, "{}", finding.message.len());
}
