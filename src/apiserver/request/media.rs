//! Content negotiation: what the `Accept` header asks an answer to look like.
//! Not here: rendering it (`verbs::answer`).

use http::HeaderMap;
use http::header::ACCEPT;

use crate::status::ApiError;

/// The media types every resource is offered in.
const OFFERED: [&str; 2] = ["application/json", "application/yaml"];

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON text.
    Json,
    /// YAML text.
    Yaml,
}

/// What the answer is turned into before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object or list itself.
    Object,
    /// `meta.k8s.io/v1` (or `v1beta1`) Table.
    Table {
        /// The version of `meta.k8s.io` that was asked for.
        version: &'static str,
    },
    /// `PartialObjectMetadata`, for single objects and watches.
    Metadata,
    /// `PartialObjectMetadataList`, for lists.
    MetadataList,
}

/// The outcome of the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    /// How it is written.
    pub(crate) format: Format,
    /// What it is turned into.
    pub(crate) shape: Shape,
}

/// Which shapes an endpoint can answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// One object.
    Single,
    /// A list.
    List,
    /// A stream of events, which has no YAML form.
    Watch,
    /// One object that has no table and no metadata form, as a Scale or a review.
    Plain,
}

impl Output {
    /// Picks the first alternative of `Accept` that can be served; 406 with what is offered when there is none.
    pub(crate) fn negotiate(headers: &HeaderMap, offer: Offer) -> Result<Self, ApiError> {
        let mut given = false;
        for header in headers.get_all(ACCEPT) {
            let Ok(text) = header.to_str() else { continue };
            given |= !text.trim().is_empty();
            let mut alternatives: Vec<(u16, &str)> =
                text.split(',').map(|one| (quality(one), one)).collect();
            // A stable sort: among equals the client's order counts.
            alternatives.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
            let chosen = alternatives
                .iter()
                .filter(|(quality, _)| *quality > 0)
                .find_map(|(_, one)| alternative(one, offer));
            if let Some(output) = chosen {
                return Ok(output);
            }
        }
        if given {
            Err(ApiError::not_acceptable(&OFFERED))
        } else {
            Ok(Self {
                format: Format::Json,
                shape: Shape::Object,
            })
        }
    }
}

/// The weight `q=` in thousandths.
fn quality(alternative: &str) -> u16 {
    let weight = alternative
        .split(';')
        .skip(1)
        .find_map(|parameter| parameter.trim().strip_prefix("q="));
    match weight.map(str::parse::<f32>) {
        Some(Ok(weight)) if (0.0..=1.0).contains(&weight) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to lie between 0 and 1"
            )]
            let thousandths = (weight * 1000.0) as u16;
            thousandths
        }
        Some(_) | None => 1000,
    }
}

fn alternative(text: &str, offer: Offer) -> Option<Output> {
    let mut parts = text.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "*/*" | "application/*" => Format::Json,
        "application/yaml" if offer != Offer::Watch => Format::Yaml,
        _ => return None,
    };
    let (mut kind, mut group, mut version) = (None, None, None);
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => kind = Some(value),
            Some(("g", value)) => group = Some(value),
            Some(("v", value)) => version = Some(value),
            Some(("stream", value)) if value != "watch" => return None,
            Some(_) | None => {}
        }
    }
    let Some(kind) = kind else {
        return Some(Output {
            format,
            shape: Shape::Object,
        });
    };
    let version = match (group, version) {
        (Some("meta.k8s.io"), Some("v1")) => "v1",
        (Some("meta.k8s.io"), Some("v1beta1")) => "v1beta1",
        _ => return None,
    };
    let shape = match (kind, offer) {
        ("Table", Offer::Single | Offer::List | Offer::Watch) => Shape::Table { version },
        ("PartialObjectMetadata", Offer::Single | Offer::Watch) => Shape::Metadata,
        ("PartialObjectMetadataList", Offer::List) => Shape::MetadataList,
        _ => return None,
    };
    Some(Output { format, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(accept: &str, offer: Offer) -> Result<Output, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Output::negotiate(&headers, offer).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn the_first_servable_alternative_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let table = Output {
            format: Format::Json,
            shape: Shape::Table { version: "v1" },
        };
        assert_eq!(ask(kubectl, Offer::List), Ok(table));
        let plain = Output {
            format: Format::Json,
            shape: Shape::Object,
        };
        assert_eq!(ask(kubectl, Offer::Plain), Ok(plain));
        assert_eq!(
            ask(
                "application/vnd.kubernetes.protobuf,application/json",
                Offer::Single
            ),
            Ok(plain)
        );
        assert_eq!(ask("*/*", Offer::List), Ok(plain));
        assert_eq!(
            ask("application/json;q=0.1,application/yaml", Offer::Single).map(|o| o.format),
            Ok(Format::Yaml)
        );
        assert_eq!(Output::negotiate(&HeaderMap::new(), Offer::List), Ok(plain));
    }

    #[test]
    fn what_cannot_be_served_is_answered_with_what_can() {
        let refused = Err(
            "only the following media types are accepted: application/json, application/yaml"
                .to_owned(),
        );
        assert_eq!(ask("text/html", Offer::Single), refused);
        assert_eq!(
            ask("application/vnd.kubernetes.protobuf", Offer::Single),
            refused
        );
        assert_eq!(ask("application/yaml", Offer::Watch), refused);
        assert_eq!(
            ask(
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
                Offer::List
            ),
            refused
        );
    }
}
