//! What a Pod may be, and the presets that make one: WebAssembly components that turn parameters into a
//! pod template, in a sandbox with limits. Neither Kubernetes' API nor HTTP is spoken here.
//!
//! | room | what lives in it |
//! | --- | --- |
//! | [`limits`] | everything a preset may use, with its default |
//! | [`engine`] | WebAssembly set up for presets, and the thread that stops what takes too long |
//! | [`audit`] | is this file a preset, and one of a version that this program can talk to? |
//! | [`module`] | a preset that is loaded: `describe()` and `render()` as calls |
//! | [`compile`] | compilation in a child process with limits of its own |
//! | [`cache`] | compiled presets, kept between starts and proved to be ours |
//! | [`loader`] | from a file's bytes to a module: out of the cache, or compiled |
//! | [`inspect`] | everything that is checked of a file before it is served |
//! | [`schema`] | can others use the schema of a preset's parameters without harm? |
//! | [`catalogue`] | folders of presets: found, checked, served by name, and replaced while they are |
//! | [`document`] | the JSON documents that presets are given and answer with, read within bounds |
//! | [`digest`] | which file it is |
//! | [`error`] | what may come of a call |
//! | [`pool`] | calls on threads of their own, shared fairly between presets |
//! | [`secret`] | secrets that nobody knows |
//! | [`policy`] | what a Pod may be in an installation, whoever asks for it |
//! | [`labels`] | what may be a label, and which only the operator sets |
//!
//! The interface is the WIT package `ephemeron:preset` in `presets/wit`.

pub mod audit;
pub mod cache;
pub mod catalogue;
pub mod compile;
pub mod digest;
pub mod document;
pub mod engine;
pub mod error;
pub mod inspect;
pub mod labels;
mod last_words;
pub mod limits;
pub mod loader;
pub mod module;
pub mod policy;
pub mod pool;
pub mod schema;
pub mod secret;
