//! Ephemerons that come, change and end at random while things break, and what must be true of them.

#[path = "../../benches/performance/audit.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
pub mod audit;
pub mod checker;
#[path = "../../src/controller/simulation/dice.rs"]
pub mod dice;
pub mod foreign;
pub mod history;
pub mod installation;
pub mod manifests;
pub mod outages;
pub mod proxy;
pub mod survey;
pub mod trial;
pub mod watching;
pub mod workload;
