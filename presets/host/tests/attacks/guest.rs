//! Presets in WebAssembly text: a good one, and what is changed to make bad ones of it.

use std::fmt::Write;

/// The parts of a preset that a test may replace.
pub struct Guest {
    /// The version of the exported interface.
    pub version: &'static str,
    /// Items of the component, before all others.
    pub imports: &'static str,
    /// The core module's memory.
    pub memory: &'static str,
    /// Further items of the core module.
    pub items: String,
    /// Begins `realloc(old, old size, alignment, size)`.
    pub realloc: &'static str,
    /// The body of `describe`, which returns a pointer to pointer and length.
    pub describe: String,
    /// The body of `render`, which returns a pointer to the result.
    pub render: String,
    /// What describe answers.
    pub description: String,
    /// The bytes of render's result: case, pointer, length.
    pub result: Vec<u8>,
    /// What render answers.
    pub rendered: String,
    /// The type of `describe`'s result.
    pub describes: &'static str,
    /// The exports of the interface.
    pub exports: &'static str,
}

/// Where render's text is.
pub const TEXT: u32 = 2048;

pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Default for Guest {
    fn default() -> Self {
        let rendered =
            r#"{"apiVersion":"preset.ephemeron/v1","template":{"spec":{}},"port":8080}"#.to_owned();
        Self {
            version: "1.0.0",
            imports: "",
            memory: "1",
            items: String::new(),
            realloc: "",
            describe: "i32.const 16".into(),
            render: "i32.const 32".into(),
            description:
                r#"{"apiVersion":"preset.ephemeron/v1","name":"good","version":"1","parameters":{"type":"object"}}"#
                    .into(),
            result: words(&[0, TEXT, u32::try_from(rendered.len()).expect("a short text")]),
            rendered,
            describes: "string",
            exports: r#"(export "describe" (func $describe)) (export "render" (func $render))"#,
        }
    }
}

impl Guest {
    /// What render answers, when it answers well.
    pub fn rendering(text: &str) -> Self {
        let length = u32::try_from(text.len()).expect("a short text");
        Self { rendered: text.to_owned(), result: words(&[0, TEXT, length]), ..Self::default() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        wat::parse_str(self.text()).expect("WebAssembly text")
    }

    fn text(&self) -> String {
        let Self { version, imports, memory, items, realloc, describe, render, describes, exports, .. } =
            self;
        let length = u32::try_from(self.description.len()).expect("a short text");
        let data = data(16, &words(&[1024, length]))
            + &data(32, &self.result)
            + &data(1024, self.description.as_bytes())
            + &data(TEXT, self.rendered.as_bytes());
        format!(
            r#"(component {imports}
              (core module $m
                (memory (export "memory") {memory})
                (global $free (mut i32) (i32.const 16384))
                {items}
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                  {realloc}
                  global.get $free
                  (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7)) (i32.const -8))))
                (func (export "describe") (result i32) {describe})
                (func (export "render") (param i32 i32 i32 i32) (result i32) {render})
                {data})
              (core instance $i (instantiate $m))
              (type $issue-type (record (field "pointer" string) (field "code" string) (field "message" string)))
              (export $issue "issue" (type $issue-type))
              (type $refusal-type (variant (case "invalid-parameters" (list $issue)) (case "rejected" $issue) (case "internal" string)))
              (export $refusal "refusal" (type $refusal-type))
              (func $describe (result {describes})
                (canon lift (core func $i "describe") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
              (func $render (param "parameters" string) (param "context" string) (result (result string (error $refusal)))
                (canon lift (core func $i "render") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
              (instance $template {exports})
              (export "ephemeron:preset/template@{version}" (instance $template)))"#
        )
    }
}

fn data(at: u32, bytes: &[u8]) -> String {
    let mut text = format!("(data (i32.const {at}) \"");
    for byte in bytes {
        write!(text, "\\{byte:02x}").expect("a string takes all");
    }
    text + "\")\n"
}
