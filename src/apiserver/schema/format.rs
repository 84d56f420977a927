//! The formats of texts and numbers that are checked; all others are ignored, as a genuine server ignores them.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use jiff::Timestamp;
use jiff::civil::Date;

use super::node::Type;

/// A format that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Whole numbers of 32 bits.
    Int32,
    /// Whole numbers of 64 bits.
    Int64,
    /// Numbers of single precision.
    Float,
    /// Numbers of double precision.
    Double,
    /// RFC 3339 with a time, as `2026-11-23T09:31:02Z`.
    DateTime,
    /// RFC 3339 without a time, as `2026-11-23`.
    Date,
    /// Go's duration, as `1h30m` or `250ms`.
    Duration,
    /// Base64 with padding.
    Byte,
    /// An absolute URI or an absolute path.
    Uri,
    /// A host name of letters, digits, dashes and dots.
    Hostname,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An address with a prefix length, as `10.0.0.0/8`.
    Cidr,
    /// Any UUID.
    Uuid,
    /// A text with one `@` between two parts.
    Email,
    /// Any text; a hint for user interfaces.
    Password,
}

impl Format {
    /// The format called `name` on a value of one of `types`, or `None` when such values are not checked for it.
    pub(super) fn parse(name: &str, types: &[Type]) -> Option<Self> {
        match types {
            [Type::Integer] => match name {
                "int32" => Some(Self::Int32),
                "int64" => Some(Self::Int64),
                _ => None,
            },
            [Type::Number] => match name {
                "float" => Some(Self::Float),
                "double" => Some(Self::Double),
                _ => None,
            },
            [Type::String] | [] => match name.replace('-', "").as_str() {
                "datetime" => Some(Self::DateTime),
                "date" => Some(Self::Date),
                "duration" => Some(Self::Duration),
                "byte" => Some(Self::Byte),
                "uri" => Some(Self::Uri),
                "hostname" => Some(Self::Hostname),
                "ipv4" => Some(Self::Ipv4),
                "ipv6" => Some(Self::Ipv6),
                "cidr" => Some(Self::Cidr),
                "uuid" => Some(Self::Uuid),
                "email" => Some(Self::Email),
                "password" => Some(Self::Password),
                _ => None,
            },
            _ => None,
        }
    }

    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Duration => "duration",
            Self::Byte => "byte",
            Self::Uri => "uri",
            Self::Hostname => "hostname",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Cidr => "cidr",
            Self::Uuid => "uuid",
            Self::Email => "email",
            Self::Password => "password",
        }
    }

    /// Whether a text follows the format. Number formats accept every text: their type has refused it already.
    pub(super) fn accepts_text(self, text: &str) -> bool {
        match self {
            Self::Int32 | Self::Int64 | Self::Float | Self::Double | Self::Password => true,
            Self::DateTime => text.contains(['T', 't']) && text.parse::<Timestamp>().is_ok(),
            Self::Date => text.len() == 10 && text.parse::<Date>().is_ok(),
            Self::Duration => is_go_duration(text),
            Self::Byte => base64::engine::general_purpose::STANDARD
                .decode(text)
                .is_ok(),
            Self::Uri => text.starts_with('/') || http_uri(text),
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Cidr => is_cidr(text),
            Self::Uuid => uuid::Uuid::try_parse(text).is_ok() && !text.contains(['{', 'u']),
            Self::Email => text.split_once('@').is_some_and(|(user, host)| {
                !user.is_empty()
                    && !host.is_empty()
                    && !host.contains('@')
                    && !text.contains(char::is_whitespace)
            }),
        }
    }
}

/// A sign, then numbers each followed by a unit; or a bare zero.
fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if number.is_empty() || number == "." || number.matches('.').count() > 1 {
            return false;
        }
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"]
            .into_iter()
            .filter(|unit| after.starts_with(unit))
            .max_by_key(|unit| unit.len());
        let Some(unit) = unit else {
            return false;
        };
        rest = &after[unit.len()..];
    }
    true
}

fn http_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && !rest.is_empty()
        && !rest.contains(|c: char| c.is_ascii_control() || c == ' ')
}

fn is_hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 255
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
        })
}

fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let digits =
        !prefix.is_empty() && prefix.len() <= 3 && prefix.chars().all(|c| c.is_ascii_digit());
    let Ok(length) = prefix.parse::<u8>() else {
        return false;
    };
    digits
        && ((address.parse::<Ipv4Addr>().is_ok() && length <= 32)
            || (address.parse::<Ipv6Addr>().is_ok() && length <= 128))
}
