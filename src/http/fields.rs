//! Gathers the parameters of a request from its query string and its JSON body; the query wins.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, header, request::Parts},
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::http::{
    body,
    input::{Input, text_of},
    parameter::{AnyParameter, Parameter, Parameters},
    problem::{Problem, Valid},
};

/// The parameters of one request, by name.
#[derive(Debug)]
pub struct Fields(BTreeMap<&'static str, Vec<Field>>);

#[derive(Debug)]
enum Field {
    Query(String),
    Body(Value),
}

impl Fields {
    /// Reads a request. Refuses what `known` does not list, and what is given twice.
    ///
    /// # Errors
    /// Says which parameter is to blame and what is valid; nothing has happened yet.
    pub async fn read(request: Request<Body>, known: Parameters) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if parts.method == Method::HEAD {
            let problem = Problem::method_not_allowed("HEAD is not allowed, for GET has effects");
            return Err(problem.allow("GET, POST"));
        }
        let mut fields = BTreeMap::new();
        for (name, value) in read_body(&parts, body).await? {
            insert(&mut fields, known, &name, Field::Body(value))?;
        }
        fields.extend(Self::query(parts.uri.query(), known)?.0);
        Ok(Self(fields))
    }

    /// Reads a query string alone.
    ///
    /// # Errors
    /// Says which parameter is to blame and what is valid.
    pub fn query(query: Option<&str>, known: Parameters) -> Result<Self, Problem> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            insert(&mut fields, known, &name, Field::Query(value.into_owned()))?;
        }
        Ok(Self(fields))
    }

    /// Whether a parameter was given.
    #[must_use]
    pub fn has(&self, parameter: &AnyParameter) -> bool {
        self.0.contains_key(parameter.name)
    }

    /// The value of a parameter, if it was given.
    ///
    /// # Errors
    /// It was given and is not valid.
    pub fn take<T: Input>(&mut self, parameter: &Parameter<T>) -> Result<Option<T>, Problem> {
        Ok(self.take_all(parameter)?.pop())
    }

    /// The values of a parameter that may be given several times.
    ///
    /// # Errors
    /// One of them is not valid.
    pub fn take_all<T: Input>(&mut self, parameter: &Parameter<T>) -> Result<Vec<T>, Problem> {
        let given = self.0.remove(parameter.name).unwrap_or_default();
        let most = parameter.most;
        if given.len() > most {
            let name = parameter.name;
            let detail = format!("parameter {name:?} is given {} times", given.len());
            return Err(Problem::invalid(name, detail, format!("at most {most} times")));
        }
        let parse = |field: Field| {
            let text = match &field {
                Field::Query(text) => Some(text.clone()),
                Field::Body(value) => text_of::<T>(value),
            };
            text.as_deref()
                .and_then(T::parse)
                .ok_or_else(|| invalid(parameter.name, &field, T::valid()))
        };
        given.into_iter().map(parse).collect()
    }
}

fn insert(
    fields: &mut BTreeMap<&'static str, Vec<Field>>,
    known: Parameters,
    name: &str,
    field: Field,
) -> Result<(), Problem> {
    let Some(parameter) = known.iter().find(|it| it.names().any(|it| it == name)) else {
        let name = shorten(name);
        let names: Vec<&str> = known.iter().flat_map(|it| it.names()).collect();
        let valid = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let detail = format!("unknown parameter {name:?}; valid: {valid}");
        let names = names.into_iter().map(str::to_owned).collect();
        return Err(Problem::invalid(&name, detail, Valid::OneOf(names)));
    };
    let given = fields.entry(parameter.name).or_default();
    if parameter.most > 1 {
        match field {
            Field::Body(Value::Array(several)) => {
                given.extend(several.into_iter().map(Field::Body));
            }
            Field::Query(text) => given.push(Field::Query(text)),
            single @ Field::Body(_) => {
                return Err(invalid(parameter.name, &single, "an array".into()));
            }
        }
        return Ok(());
    }
    given.push(field);
    if given.len() > 1 {
        let name = parameter.name;
        let detail = format!("parameter {name:?} is given more than once");
        return Err(Problem::invalid(name, detail, "at most once, under one of its names"));
    }
    Ok(())
}

fn invalid(name: &str, field: &Field, valid: Valid) -> Problem {
    let given = match field {
        Field::Query(text) => format!("{:?}", shorten(text)),
        Field::Body(value) => shorten(&value.to_string()),
    };
    let detail = format!("parameter {name:?}: expected {valid}; got {given}");
    Problem::invalid(name, detail, valid)
}

/// Keeps a reply, and a log, from repeating kilobytes of nonsense.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

async fn read_body(parts: &Parts, body: Body) -> Result<Vec<(String, Value)>, Problem> {
    let bytes = body::read(body).await?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if parts.method != Method::POST {
        let detail = format!("{} takes its parameters from the query string only", parts.method);
        return Err(Problem::malformed_body(detail));
    }
    require_json(&parts.headers)?;
    let Members(members) = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::malformed_body(format!("the body must be one JSON object of parameters: {error}"))
    })?;
    Ok(members)
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let given = given.map_or_else(|| "none".to_owned(), shorten);
    Err(Problem::media_type(format!(
        "expected Content-Type: application/json, got {given}; or put the parameters into the query"
    )))
}

/// The members of a JSON object in their order, repeated ones included: a map would keep the last.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
