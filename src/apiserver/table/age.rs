//! Times as people read them in a table: how long ago, in two units at most.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How long before `now` the RFC 3339 time was, `<unknown>` for none, `<invalid>` for no time or one in the future.
pub(super) fn since(time: &str, now: Timestamp) -> String {
    if time.is_empty() {
        return "<unknown>".to_owned();
    }
    match time.parse::<Timestamp>() {
        Ok(time) => duration(now.duration_since(time).as_secs()),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// Seconds in words: the smaller unit is told while it still matters.
pub(super) fn duration(seconds: i64) -> String {
    let pair = |large: i64, unit: &str, small: i64, part: &str| {
        if small == 0 {
            format!("{large}{unit}")
        } else {
            format!("{large}{unit}{small}{part}")
        }
    };
    match seconds {
        // Clocks of two machines differ by a second now and then.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => pair(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => pair(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => pair(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        252_288_000.. => format!("{}y", seconds / YEAR),
    }
}
