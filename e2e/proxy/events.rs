//! The event stream, line by line, and what may go wrong with it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::forward::{Cut, Piece, cut};
use crate::rule::{EventFault, Flood};

/// Lines that are to be mixed wait so long for others.
const GATHERING: Duration = Duration::from_millis(100);

/// A flood comes in waves.
const WAVE: Duration = Duration::from_millis(10);

/// The client is gone, or was cut off.
struct Over;

/// Sends what the engine sends, distorted until the rule is lifted.
pub(crate) async fn distort(
    body: Incoming,
    fault: EventFault,
    lifted: CancellationToken,
    to: mpsc::Sender<Piece>,
) {
    let mut lines = Lines {
        body,
        buffer: BytesMut::new(),
    };
    // Whether the client is there is nobody's business after that.
    let _ = match fault {
        EventFault::End => return,
        EventFault::HalfLine => half_line(&mut lines, &to).await,
        EventFault::Stall => {
            lifted.cancelled().await;
            Ok(())
        }
        EventFault::Reorder(window, seed) => {
            let dice = StdRng::seed_from_u64(seed);
            reorder(&mut lines, window, dice, &lifted, &to).await
        }
        EventFault::Flood(flood) => pour(&mut lines, &flood, &lifted, &to).await,
        EventFault::Duplicate => each(&mut lines, &lifted, &to, || 2).await,
        EventFault::Drop(per_cent, seed) => {
            let mut dice = StdRng::seed_from_u64(seed);
            let copies = || usize::from(dice.random_range(0..100) >= per_cent);
            each(&mut lines, &lifted, &to, copies).await
        }
    };
    let _ = rest(&mut lines, &to).await;
}

/// The engine's stream in lines, their ends included.
struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// The next line; none when the stream ended, well or not. Nothing is lost when this is given up.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Some(Ok(self.buffer.split_to(end + 1).freeze()));
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

async fn send(to: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), Over> {
    let ends = piece.is_err();
    to.send(piece).await.map_err(|_| Over)?;
    if ends { Err(Over) } else { Ok(()) }
}

async fn rest(lines: &mut Lines, to: &mpsc::Sender<Piece>) -> Result<(), Over> {
    while let Some(line) = lines.next().await {
        send(to, line).await?;
    }
    Ok(())
}

async fn half_line(lines: &mut Lines, to: &mpsc::Sender<Piece>) -> Result<(), Over> {
    if let Some(Ok(line)) = lines.next().await {
        send(to, Ok(line.slice(..line.len() / 2))).await?;
    }
    send(to, Err(cut())).await
}

/// Each line so many times, until the rule is lifted.
async fn each(
    lines: &mut Lines,
    lifted: &CancellationToken,
    to: &mpsc::Sender<Piece>,
    mut copies: impl FnMut() -> usize,
) -> Result<(), Over> {
    loop {
        let line = tokio::select! {
            () = lifted.cancelled() => return Ok(()),
            line = lines.next() => line.ok_or(Over)?,
        };
        match line {
            Ok(line) => {
                for _ in 0..copies() {
                    send(to, Ok(line.clone())).await?;
                }
            }
            error @ Err(_) => send(to, error).await?,
        }
    }
}

async fn reorder(
    lines: &mut Lines,
    window: usize,
    mut dice: StdRng,
    lifted: &CancellationToken,
    to: &mpsc::Sender<Piece>,
) -> Result<(), Over> {
    while !lifted.is_cancelled() {
        let mut gathered = vec![lines.next().await.ok_or(Over)?];
        while gathered.len() < window
            && let Ok(Some(line)) = tokio::time::timeout(GATHERING, lines.next()).await
        {
            gathered.push(line);
        }
        gathered.shuffle(&mut dice);
        for line in gathered {
            send(to, line).await?;
        }
    }
    Ok(())
}

async fn pour(
    lines: &mut Lines,
    flood: &Flood,
    lifted: &CancellationToken,
    to: &mpsc::Sender<Piece>,
) -> Result<(), Over> {
    let mut waves = tokio::time::interval(WAVE);
    waves.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let waves_per_second = 1000 / u64::try_from(WAVE.as_millis()).unwrap_or(u64::MAX);
    let in_a_wave = flood.per_second.div_ceil(waves_per_second);
    let mut poured = 0;
    while poured < flood.total {
        tokio::select! {
            () = lifted.cancelled() => return Ok(()),
            line = lines.next() => send(to, line.ok_or(Over)?).await?,
            _ = waves.tick() => {
                for _ in 0..in_a_wave.min(flood.total - poured) {
                    let mut line = (flood.line)(poured);
                    line.push('\n');
                    send(to, Ok(line.into())).await?;
                    poured += 1;
                }
            }
        }
    }
    Ok(())
}
