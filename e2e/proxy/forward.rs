//! One request: what befalls it, the engine's answer, and how that reaches the client. Which fault it is was decided before.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::{HeaderValue, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::events;
use crate::operation::Operation;
use crate::record::Open;
use crate::rule::{Fault, Struck};

/// Why a connection is closed in the middle.
pub(crate) type Cut = Box<dyn std::error::Error + Send + Sync>;

/// A piece of an answer's body, or the place where it breaks off.
pub(crate) type Piece = Result<Bytes, Cut>;

type Body = UnsyncBoxBody<Bytes, Cut>;
type Asked = Request<Full<Bytes>>;

/// Pieces on their way to a client that is slow: more make the engine wait.
const ON_THE_WAY: usize = 16;

/// Answers one request. An error closes the connection.
pub(crate) async fn serve(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, Cut> {
    let operation = Operation::of(request.method(), request.uri().path());
    let open = Open::begin(&shared, operation);
    let struck = shared.rules.strike(operation);
    let (parts, body) = request.into_parts();
    let asked = Request::from_parts(parts, Full::new(body.collect().await?.to_bytes()));
    let Some(Struck { fault, lifted }) = struck else {
        let answer = ask(asked, &shared).await?;
        return Ok(pass_on(answer, open, usize::MAX, &shared));
    };
    match fault {
        Fault::DelayRequest(pause) => tokio::time::sleep(pause).await,
        Fault::HangBefore => lifted.cancelled().await,
        Fault::DelayAnswer(pause) => {
            let answer = ask(asked, &shared).await?;
            tokio::time::sleep(pause).await;
            return Ok(pass_on(answer, open, usize::MAX, &shared));
        }
        Fault::HangAfter => {
            let answer = ask(asked, &shared).await?;
            lifted.cancelled().await;
            return Ok(pass_on(answer, open, usize::MAX, &shared));
        }
        Fault::Late(pause) => {
            let engine = Arc::clone(&shared);
            shared.tasks.spawn(async move {
                tokio::time::sleep(pause).await;
                // Nobody is left to be told how it ended.
                if let Ok(answer) = ask(asked, &engine).await {
                    let _ = answer.into_body().collect().await;
                }
            });
            return std::future::pending().await;
        }
        Fault::Answer(status, text) => return Ok(instead(status, text)),
        Fault::CutBefore => return Err(cut()),
        Fault::CutAfter => {
            // What streams is carried out when it has ended.
            ask(asked, &shared).await?.into_body().collect().await?;
            return Err(cut());
        }
        Fault::CutBody(bytes) => {
            let answer = ask(asked, &shared).await?;
            return Ok(pass_on(answer, open, bytes, &shared));
        }
        Fault::Events(fault) => {
            let answer = ask(asked, &shared).await?;
            return Ok(streamed(answer, open, &shared, |body, to| {
                events::distort(body, fault, lifted, to)
            }));
        }
    }
    let answer = ask(asked, &shared).await?;
    Ok(pass_on(answer, open, usize::MAX, &shared))
}

/// Asks the engine, on a connection of its own.
async fn ask(asked: Asked, shared: &Shared) -> Result<Response<Incoming>, Cut> {
    let stream = UnixStream::connect(&shared.engine).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    shared.tasks.spawn(async move {
        // How it ended shows in the answer.
        let _ = connection.await;
    });
    Ok(sender.send_request(asked).await?)
}

/// The engine's answer, piece by piece as it comes, up to so many bytes of its body.
fn pass_on(
    answer: Response<Incoming>,
    open: Open,
    most: usize,
    shared: &Arc<Shared>,
) -> Response<Body> {
    streamed(answer, open, shared, |mut body, to| async move {
        let mut left = most;
        while let Some(frame) = body.frame().await {
            let piece = match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) if bytes.len() < left => {
                    left -= bytes.len();
                    Ok(bytes)
                }
                Ok(Ok(bytes)) => {
                    let _ = to.send(Ok(bytes.slice(..left))).await;
                    Err(cut())
                }
                // Trailers: the engine sends none.
                Ok(Err(_)) => continue,
                Err(error) => Err(error.into()),
            };
            if to.send(piece).await.is_err() {
                return;
            }
        }
    })
}

/// The engine's answer with the body that `pump` makes of its body.
fn streamed<F>(
    answer: Response<Incoming>,
    open: Open,
    shared: &Arc<Shared>,
    pump: impl FnOnce(Incoming, mpsc::Sender<Piece>) -> F,
) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::TRANSFER_ENCODING);
    let (sender, pieces) = mpsc::channel(ON_THE_WAY);
    let client = sender.clone();
    let pumping = pump(body, sender);
    let is_events = open.operation() == Operation::Events;
    let cut_off = if is_events {
        shared.cut_events.lock().unwrap().clone()
    } else {
        CancellationToken::new()
    };
    shared.tasks.spawn(async move {
        tokio::select! {
            () = client.closed() => {}
            () = pumping => {}
            // Whether somebody hears of it does not matter.
            () = cut_off.cancelled() => drop(client.send(Err(cut())).await),
        }
    });
    let record = Arc::clone(shared);
    let frames = ReceiverStream::new(pieces)
        .then(|piece| async {
            if piece.is_err() {
                // What was sent before is written out first.
                tokio::task::yield_now().await;
            }
            piece
        })
        .inspect(move |piece| {
            if is_events && piece.is_ok() {
                record.record.event_taken();
            }
            // The request is open until its answer was read.
            let _ = &open;
        })
        .map(|piece| piece.map(Frame::data));
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

/// An answer that the engine did not give.
fn instead(status: u16, text: String) -> Response<Body> {
    let body = stream::iter([Ok(Frame::data(Bytes::from(text)))]);
    let mut answer = Response::new(StreamBody::new(body).boxed_unsync());
    *answer.status_mut() = status.try_into().unwrap();
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

pub(crate) fn cut() -> Cut {
    io::Error::other("cut on purpose").into()
}
