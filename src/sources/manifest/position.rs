//! Where the fields of an object stand in their file, found by the field paths that the API names in its errors.

use std::fmt;

/// A place in a text file; both numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The place of a value and of everything in it.
#[derive(Debug, Clone)]
pub(crate) struct Positions {
    pub(crate) at: Position,
    pub(crate) inner: Place,
}

/// The places inside a value.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Scalar,
    Items(Vec<Positions>),
    /// Sorted by name.
    Fields(Vec<(Box<str>, Positions)>),
}

impl Positions {
    /// The place of the field at `path`, as `spec.ports[0].hostPort`, `data[app.conf]` or `metadata.labels.a/b`; of a field
    /// that is not there the place of the nearest one around it.
    pub(crate) fn of(&self, path: &str) -> Position {
        let rest = path.strip_prefix('.').unwrap_or(path);
        if rest.is_empty() {
            return self.at;
        }
        match &self.inner {
            Place::Scalar => self.at,
            Place::Items(items) => index(rest)
                .and_then(|(index, rest)| Some(items.get(index)?.of(rest)))
                .unwrap_or(self.at),
            Place::Fields(fields) => {
                field(fields, rest).map_or(self.at, |(place, rest)| place.of(rest))
            }
        }
    }

    /// The places directly below the field `name` of a mapping.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match &self.inner {
            Place::Fields(fields) => named(fields, name),
            Place::Scalar | Place::Items(_) => None,
        }
    }

    /// The place of one item of a list.
    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        match &self.inner {
            Place::Items(items) => items.get(index),
            Place::Scalar | Place::Fields(_) => None,
        }
    }
}

/// Splits `[3].name` into 3 and `.name`.
fn index(path: &str) -> Option<(usize, &str)> {
    let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

fn named<'a>(fields: &'a [(Box<str>, Positions)], wanted: &str) -> Option<&'a Positions> {
    let found = fields.binary_search_by(|(name, _)| (**name).cmp(wanted));
    found.ok().map(|index| &fields[index].1)
}

/// The field that the path begins with, and the path below it. Names may hold dots, so the longest name that fits wins.
fn field<'a, 'p>(
    fields: &'a [(Box<str>, Positions)],
    path: &'p str,
) -> Option<(&'a Positions, &'p str)> {
    if let Some((name, rest)) = path
        .strip_prefix('[')
        .and_then(|path| path.rsplit_once(']'))
        && let Some(place) = named(fields, name.trim_matches('"'))
    {
        return Some((place, rest));
    }
    fields
        .iter()
        .filter_map(|(name, place)| {
            let rest = path.strip_prefix(&**name)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some((name.len(), place, rest))
        })
        .max_by_key(|(length, ..)| *length)
        .map(|(_, place, rest)| (place, rest))
}

#[cfg(test)]
mod tests {
    use super::super::node::documents;
    use super::Position;

    const TEXT: &str = "\
spec:
  ports:
  - { name: http, hostPort: 80000 }
  - name: admin
    hostPort:
      auto
data:
  app.conf: x
  app: { conf: y }
";

    fn of(path: &str) -> String {
        let documents = documents(TEXT).unwrap();
        documents[0].positions.of(path).to_string()
    }

    #[test]
    fn a_field_is_found_where_its_name_stands() {
        assert_eq!(of("spec.ports[0].hostPort"), "3:19");
        assert_eq!(of("spec.ports[1].hostPort"), "5:5");
        assert_eq!(of("spec.ports[1]"), "4:5");
        assert_eq!(of(".spec.ports"), "2:3");
    }

    #[test]
    fn names_with_dots_are_told_from_paths() {
        assert_eq!(of("data.app.conf"), "8:3");
        assert_eq!(of("data[app.conf]"), "8:3");
        assert_eq!(of("data[app].conf"), "9:10");
    }

    #[test]
    fn a_field_that_is_not_there_is_reported_at_the_nearest_one_around_it() {
        assert_eq!(of("spec.ports[0].containerPort"), "3:5");
        assert_eq!(of("spec.ports[7].name"), "2:3");
        assert_eq!(of("spec.env[FOO]"), "1:1");
        assert_eq!(of("nothing"), "1:1");
    }

    #[test]
    fn an_alias_leads_to_its_anchor_and_a_merged_field_to_its_origin() {
        let documents = documents("base: &b\n  image: x\na:\n  <<: *b\nc: *b\n").unwrap();
        let place = &documents[0].positions;
        assert_eq!(place.of("a.image"), Position { line: 2, column: 3 });
        assert_eq!(place.of("c.image"), Position { line: 2, column: 3 });
    }
}
