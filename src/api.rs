//! The REST API, for backends that act for their users.
//!
//! | room | what lives in it |
//! | --- | --- |
//! | [`routes`] | the operations: one file per resource |
//! | [`problem`], [`body`], [`json`], [`time`], [`view`] | what requests and answers are made of |
//! | [`token`], [`caller`], [`keeper`] | who calls: tokens, callers, and those who guess keys |
//! | [`directory`], [`changes`] | the services as a watch has shown them, and who is told of changes |
//! | [`creating`], [`extending`], [`deleting`], [`bulk`], [`quota`], [`lifetime`], [`id`] | what is written, and on which conditions |
//! | [`requests`] | the only place that asks the API server |
//! | [`catalogue`] | the presets |
//! | [`answers`], [`origins`] | what all answers have: an id, one form of errors, a line in the log; and which pages may read them |
//! | [`server`] | connections, their limits, and the end |

pub mod answers;
pub mod body;
pub mod bulk;
pub mod caller;
pub mod catalogue;
pub mod changes;
pub mod creating;
pub mod deleting;
pub mod directory;
pub mod document;
pub mod extending;
pub mod id;
pub mod json;
pub mod keeper;
pub mod lifetime;
pub mod metrics;
pub mod origins;
pub mod pace;
pub mod problem;
pub mod quota;
pub mod requests;
pub mod routes;
pub mod server;
pub mod settings;
pub mod time;
pub mod token;
pub mod view;

use std::{future::Future, sync::Arc, time::Duration};

use ephemeron_preset_host::catalogue::OpenError;
use kube::Client;
use tokio::sync::{RwLock, watch};

use crate::{client, health::Readiness};
use bulk::Busy;
use catalogue::Catalogue;
use directory::Directory;
use keeper::Keeper;
use metrics::Metrics;
use quota::{Turns, UnderWay};
use requests::Ephemerons;
use settings::Settings;
use token::Signer;

/// Between two looks at whether all presets are there.
const LOOK: Duration = Duration::from_millis(100);

/// All that an operation works with.
pub struct Api {
    /// What the installation has set.
    pub settings: Settings,
    /// Signs and verifies tokens.
    pub signer: Signer,
    /// Slows down those who guess keys.
    pub keeper: Keeper,
    /// Turns of those who are counted together.
    pub turns: Turns,
    /// How many creations are under way.
    pub under_way: UnderWay,
    /// Which apps have an operation on many services under way.
    pub bulk: Busy,
    /// Held by what goes on although its caller may have gone away: the end waits for it.
    pub writing: Arc<RwLock<()>>,
    /// What can be asked for.
    pub catalogue: Catalogue,
    /// The services.
    pub directory: Directory,
    /// What the API server is asked.
    pub ephemerons: Ephemerons,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the program was told to stop: who waits is told to come back.
    pub stopping: watch::Receiver<bool>,
}

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The client cannot be made.
    #[error("no client for the API server")]
    Client(#[from] kube::Error),
    /// There are no presets.
    #[error("the presets cannot be served")]
    Presets(#[from] OpenError),
    /// The watch has ended.
    #[error("the watch of Ephemerons has ended: a defect of the program, please report it")]
    Watch,
    /// There is no port.
    #[error(transparent)]
    Listen(#[from] server::CannotListen),
}

/// Serves the API until `shutdown` resolves, and then those who have asked before.
///
/// # Errors
///
/// It could not begin.
pub async fn run(
    mut settings: Settings,
    config: kube::Config,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ApiError> {
    let watching = Client::try_from(client::watching(config.clone()))?;
    let client = Client::try_from(config)?;
    let metrics = Arc::new(metrics);
    server::raise_file_limit();
    let listener = server::bind(settings.listen).await?;
    let (stop, stopping) = watch::channel(false);
    let services = std::mem::take(&mut settings.services);
    let catalogue = Catalogue::open(services, &settings.presets, settings.policy.clone(), &readiness)?;
    let api = Arc::new(Api {
        signer: Signer::new(&settings.secrets),
        keeper: Keeper::default(),
        turns: Turns::default(),
        under_way: UnderWay::default(),
        bulk: Busy::default(),
        writing: Arc::default(),
        catalogue,
        directory: Directory::default(),
        ephemerons: Ephemerons::new(client, settings.namespace.clone()),
        metrics: Arc::clone(&metrics),
        stopping,
        settings,
    });
    let mut watching = {
        let (api, readiness) = (Arc::clone(&api), readiness.clone());
        tokio::spawn(async move { api.directory.keep(watching, metrics, readiness).await })
    };
    let starting = {
        let (api, readiness) = (Arc::clone(&api), readiness.clone());
        tokio::spawn(async move {
            api.directory.cache.synced().await;
            if !api.catalogue.settled() {
                readiness.lacks("presets", "they are being loaded, and compiled where the cache lacks them");
            }
            let mut looks = tokio::time::interval(LOOK);
            while !api.catalogue.settled() {
                looks.tick().await;
            }
            readiness.has("presets");
            readiness.started();
            tracing::info!("ready: the first list of Ephemerons is there, and all presets");
        })
    };
    tokio::select! {
        () = server::serve(listener, Arc::clone(&api), stop, shutdown) => {}
        // It watches for ever: what is shown would grow old, and nobody would notice.
        _ = &mut watching => return Err(ApiError::Watch),
    }
    starting.abort();
    watching.abort();
    tracing::info!("stopped");
    Ok(())
}
