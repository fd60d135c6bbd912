//! The policy language as a JSON Schema (draft 2020-12), for editors.
//!
//! The reader of the document is stricter and says more: a schema knows nothing of names, of patterns that do not compile,
//! and of what stands elsewhere.

use serde_json::{Map, Value, json};

use super::presets;

/// The schema's address. It names the schema; nothing is at it.
pub const ID: &str = "urn:regsweep:policy:1";

/// The schema of a policy document of version 1.
pub fn schema() -> Value {
    let mut schema = required(
        "A regsweep policy: what to keep of a container registry.",
        &["version"],
        &[
            ("version", json!({ "const": 1, "description": "The version of the language." })),
            ("protect", defined("protect")),
            ("pulls", pulls()),
            ("classes", map("Kinds of tags, by name. A policy names them under `tags`.", &defined("class"))),
            (
                "policies",
                json!({
                    "type": "array",
                    "items": defined("policy"),
                    "description": "Which repositories keep what. A repository belongs to the first that matches it.",
                }),
            ),
            (
                "referrers",
                nested("orphaned_after", "How long a referrer stays when its subject has gone; 7d."),
            ),
            ("uploads", nested("abandoned_after", "How long an upload may stand still before it goes; 7d.")),
            (
                "repositories",
                object("Repositories without tags and manifests.", &[("empty", word(&["keep", "remove"]))]),
            ),
            ("grace", described("period", "Nothing younger goes. Longer than your longest push; 24h.")),
            ("trash", nested("keep", "How long the trash keeps what went; 7d.")),
            ("limits", defined("limits")),
        ],
    );
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("$id".into(), json!(ID));
        schema.insert("title".into(), json!("regsweep policy"));
        schema.insert("$defs".into(), definitions());
    }
    schema
}

fn definitions() -> Value {
    let mut definitions = Map::new();
    let mut define = |name: &str, schema: Value| definitions.insert(name.to_owned(), schema);
    define(
        "period",
        json!({
            "description": "A length of time: 45s, 15min, 12h, 14d, 2w, 1mo (30 days), 1y (365 days), or 0.",
            "anyOf": [{ "const": 0 }, { "type": "string", "pattern": "^\\s*(0|[0-9]+(s|min|h|d|w|mo|y))\\s*$" }],
        }),
    );
    define(
        "share",
        json!({
            "description": "A percentage.",
            "anyOf": [{ "const": 0 }, { "type": "string", "pattern": "^\\s*(0|[0-9]+%)\\s*$" }],
        }),
    );
    define("count", json!({ "type": "integer", "minimum": 1 }));
    define("number", json!({ "type": "integer", "minimum": 0 }));
    define(
        "pattern",
        json!({
            "description": "A glob over the whole name (* within a path component, ** across), re: and a regular expression, or \
                            ! and what does not match.",
            "type": "string",
            "minLength": 1,
        }),
    );
    define(
        "patterns",
        json!({
            "anyOf": [defined("pattern"), { "type": "array", "items": defined("pattern"), "minItems": 1 }],
        }),
    );
    define(
        "protected",
        json!({
            "anyOf": [defined("pattern"), { "type": "array", "items": defined("pattern") }],
        }),
    );
    define(
        "protect",
        object(
            "What never goes, whatever the rules say.",
            &[
                ("tags", described("protected", "Tags that never go.")),
                ("repositories", described("protected", "Repositories in which nothing goes.")),
                ("digests_from", defined("digests_from")),
                ("in_use", defined("in_use")),
            ],
        ),
    );
    define("digests_from", digests_from());
    define("in_use", in_use());
    define(
        "class",
        required("A kind of tags.", &["match"], &[("match", defined("patterns")), ("order_by", order_by())]),
    );
    define("policy", policy());
    define("rule", required("What stays of a class.", &["keep"], &[("keep", defined("keep"))]));
    define(
        "keep",
        json!({
            "description": "A tag goes when none of these holds it.",
            "anyOf": [{ "enum": ["all", "none"] }, defined("keeps")],
        }),
    );
    define("keeps", keeps(true));
    define("all", keeps(false));
    define(
        "versions",
        some(
            "So many majors, so many minors of each, so many patches of each of those.",
            &[("majors", defined("count")), ("minors", defined("count")), ("patches", defined("count"))],
        ),
    );
    define(
        "limits",
        object(
            "A plan beyond any of these is refused.",
            &[
                ("tags", described("share", "The share of all tags; 25%.")),
                ("bytes", described("share", "The share of all bytes; 50%.")),
                (
                    "repository_may_empty",
                    json!({ "type": "boolean", "description": "Whether a repository may lose its last tag." }),
                ),
            ],
        ),
    );
    Value::Object(definitions)
}

fn policy() -> Value {
    required(
        "What the repositories that it matches keep.",
        &["name", "repositories"],
        &[
            (
                "name",
                json!({ "type": "string", "minLength": 1, "description": "Its name, unique in the document." }),
            ),
            ("repositories", defined("patterns")),
            ("clock", word(&CLOCKS)),
            ("preset", word(presets::names())),
            (
                "tags",
                map(
                    "A rule for each class, and for `other`, which is every tag that no class matches.",
                    &defined("rule"),
                ),
            ),
            ("untagged", described("rule", "The rule for manifests without a tag.")),
            (
                "limits",
                object(
                    "In each repository and run.",
                    &[
                        ("min_keep", described("number", "At least so many tags stay.")),
                        ("max_delete", described("number", "At most so many go; the rest waits.")),
                    ],
                ),
            ),
            (
                "protect",
                object(
                    "What never goes.",
                    &[
                        ("tags", defined("protected")),
                        ("digests_from", defined("digests_from")),
                        ("in_use", defined("in_use")),
                    ],
                ),
            ),
            ("trash", nested("keep", "How long the trash keeps what went from these repositories.")),
        ],
    )
}

/// Files of image references that never go.
fn digests_from() -> Value {
    let file = required(
        "A file of image references or digests, a line each.",
        &["file"],
        &[("file", line()), ("max_age", max_age()), ("may_be_empty", may_be_empty())],
    );
    json!({
        "type": "array",
        "items": { "anyOf": [line(), file] },
        "description": "Files of image references or digests that never go. One that cannot be read stops the run.",
    })
}

/// What tells which images run.
fn in_use() -> Value {
    let file = required(
        "A file of image references.",
        &["file", "max_age"],
        &[("file", line()), ("max_age", max_age()), ("may_be_empty", may_be_empty())],
    );
    let command = required(
        "A command that prints image references. It is run without a shell.",
        &["command"],
        &[
            ("command", line()),
            ("timeout", described("period", "How long it may run, at most 1h; 60s.")),
            ("may_be_empty", may_be_empty()),
        ],
    );
    json!({
        "type": "array",
        "items": { "anyOf": [file, command] },
        "description": "What says which images run. One that cannot be asked stops the run.",
    })
}

fn line() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn max_age() -> Value {
    described("period", "How old the file may be.")
}

fn may_be_empty() -> Value {
    json!({ "type": "boolean", "description": "Whether it may name nothing; else that stops the run." })
}

fn pulls() -> Value {
    let names = json!({ "anyOf": [line(), { "type": "array", "items": line() }] });
    let ignore = object(
        "Whose pulls do not count.",
        &[("user_agents", names.clone()), ("users", names.clone()), ("addresses", names)],
    );
    object(
        "What is to be made of pulls.",
        &[
            ("max_gap", described("period", "The longest time of which no record need tell, at least 1h.")),
            ("ignore", ignore),
        ],
    )
}

/// Which time is a tag's age.
const CLOCKS: [&str; 4] = ["tagged", "pushed", "pulled", "created"];

fn order_by() -> Value {
    json!({
        "description": "What makes a tag newer than another: a word, or captures of the class's regular expressions.",
        "anyOf": [
            { "enum": ["clock", "semver", "calver", "name", "captures"] },
            {
                "type": "array",
                "items": { "anyOf": [{ "type": "string", "minLength": 1 }, defined("count")] },
                "minItems": 1,
            },
        ],
    })
}

fn keeps(and: bool) -> Value {
    let mut properties = vec![
        (
            "last",
            json!({
                "description": "The newest so many.",
                "anyOf": [defined("count"), defined("versions")],
            }),
        ),
        ("within", described("period", "What is no older.")),
        ("daily", described("count", "The newest of each of so many days.")),
        ("weekly", described("count", "The newest of each of so many weeks.")),
        ("monthly", described("count", "The newest of each of so many months.")),
        ("yearly", described("count", "The newest of each of so many years.")),
    ];
    if and {
        properties.push(("all", described("all", "What every one of these holds.")));
    }
    some("Each of these keeps.", &properties)
}

fn defined(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn described(name: &str, description: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}"), "description": description })
}

fn word(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// Keys that are fixed; a key without a value is as good as none.
fn object(description: &str, properties: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = properties
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), json!({ "anyOf": [schema, { "type": "null" }] })))
        .collect();
    json!({ "type": "object", "description": description, "properties": properties, "additionalProperties": false })
}

/// The same, and these keys have a value.
fn required(description: &str, keys: &[&str], properties: &[(&str, Value)]) -> Value {
    let mut schema = object(description, properties);
    schema["required"] = json!(keys);
    for (name, property) in properties.iter().filter(|(name, _)| keys.contains(name)) {
        schema["properties"][*name] = property.clone();
    }
    schema
}

/// The same, and at least one key.
fn some(description: &str, properties: &[(&str, Value)]) -> Value {
    let mut schema = object(description, properties);
    schema["minProperties"] = json!(1);
    schema
}

fn nested(key: &str, description: &str) -> Value {
    object(description, &[(key, defined("period"))])
}

fn map(description: &str, values: &Value) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": values })
}
