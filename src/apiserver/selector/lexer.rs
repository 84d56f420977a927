//! The words of a label selector. Their order is judged by `label`.

/// A word and the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) text: String,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    End,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    In,
    NotIn,
    Identifier,
}

/// All words of a selector; the last one is always `End`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let token = match rest.chars().next() {
            None => Token {
                kind: TokenKind::End,
                text: String::new(),
            },
            Some(first) if is_symbol(first) => {
                let (token, length) = symbol(rest);
                rest = &rest[length..];
                token
            }
            Some(_) => {
                let end = rest
                    .find(|c| is_symbol(c) || is_space(c))
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                rest = after;
                let kind = match word {
                    "in" => TokenKind::In,
                    "notin" => TokenKind::NotIn,
                    _ => TokenKind::Identifier,
                };
                Token {
                    kind,
                    text: word.to_owned(),
                }
            }
        };
        let done = token.kind == TokenKind::End;
        tokens.push(token);
        if done {
            return tokens;
        }
    }
}

/// The longest symbol the text begins with, and its length.
fn symbol(text: &str) -> (Token, usize) {
    let (kind, length) = match text.as_bytes() {
        [b'=', b'=', ..] => (TokenKind::Equals, 2),
        [b'!', b'=', ..] => (TokenKind::NotEquals, 2),
        [b'!', ..] => (TokenKind::Not, 1),
        [b'(', ..] => (TokenKind::Open, 1),
        [b')', ..] => (TokenKind::Close, 1),
        [b',', ..] => (TokenKind::Comma, 1),
        [b'>', ..] => (TokenKind::Greater, 1),
        [b'<', ..] => (TokenKind::Less, 1),
        _ => (TokenKind::Equals, 1),
    };
    let token = Token {
        kind,
        text: text[..length].to_owned(),
    };
    (token, length)
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
