//! The contract's files for both programs, as they are written: by `envsubst`, into one namespace.

use crate::Cases;

/// What a user types; the rest of the line is this cluster's: images, domain, the API's host.
const COMMANDS: &str = r#"
kubectl apply -f k8s/controller/sa.yaml -f k8s/api/sa.yaml
IMAGE=$(cat IMAGES/controller.ref) DOMAIN=localhost envsubst < k8s/controller/deployment.yaml | kubectl apply -f -
IMAGE=$(cat IMAGES/api.ref) HOST=api.localhost JWT_SECRET=$(openssl rand -hex 32) envsubst < k8s/api/deployment.yaml | kubectl apply -f -
kubectl rollout status deployment/ephemeron-controller --timeout=300s
kubectl rollout status deployment/ephemeron-api --timeout=300s
key=$(kubectl get secret ephemeron-api-keys -o go-template='{{.data.example | base64decode}}')
TOKEN=$(curl -sf --retry 30 --retry-all-errors --retry-delay 1 -X POST api.localhost/auth -H 'Content-Type: application/json' -d "{\"app\":\"example\",\"key\":\"$key\",\"uid\":\"user\"}" | jq -r .token)
ID=$(curl -sf -X POST api.localhost/ -H 'Content-Type: application/json' -H "Authorization: Bearer $TOKEN" -d '{"preset":"nginx","lifetimeMinutes":30}' | jq -r .id)
kubectl wait --for=condition=Available ephemeron/$ID --timeout=300s
host=$(kubectl get eph $ID -o jsonpath='{.metadata.annotations.host}')
curl -s "$host" | grep "<h1>Welcome to nginx!</h1>"
# The key that everybody knows opens nothing.
[ "$(curl -s -o /dev/null -w '%{http_code}' -X POST api.localhost/auth -H 'Content-Type: application/json' -d '{"app":"example","key":"apikey","uid":"user"}')" = 401 ]
kubectl get lease ephemeron-controller -o jsonpath='{.spec.holderIdentity}' | grep '^ephemeron-controller-'
kubectl delete ephs --all
kubectl wait --for=delete pods -l app.kubernetes.io/managed-by=ephemeron --timeout=300s
"#;

const END: &str = "
kubectl delete --ignore-not-found -f k8s/api/deployment.yaml -f k8s/controller/deployment.yaml
kubectl delete --ignore-not-found secret ephemeron-controller-keys ephemeron-api-keys
kubectl delete --ignore-not-found lease ephemeron-controller
";

/// The case; no other controller may run.
pub fn cases(cases: &mut Cases) {
    cases.add("envsubst::the_contract_s_files_install_both_programs", |world| async move {
        let cluster = &world.cluster;
        let images = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("images");
        let output = cluster.shell(&COMMANDS.replace("IMAGES", &images.display().to_string())).await;
        let ended = cluster.shell(END).await;
        let told = |output: &std::process::Output| {
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
        };
        assert!(output.status.success(), "{}", told(&output));
        assert!(ended.status.success(), "{}", told(&ended));
    });
}
