//! The calls of CRI. Each one takes its request apart, lets the runtime do it, and puts the answer together.

mod calls;
mod deadline;
mod image;
mod runtime;

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::Status;

use crate::runtime::Runtime;

pub(crate) use calls::Calls;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How many items go into one message of a stream: far from gRPC's 4 MiB, with a few KiB for each.
const PER_MESSAGE: usize = 100;

/// Both services.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) Arc<Runtime>);

/// A list as a stream of messages with at least one item each.
fn in_parts<T, M>(items: Vec<T>, message: impl Fn(Vec<T>) -> M) -> Answers<M>
where
    M: Send + 'static,
{
    let mut messages = Vec::new();
    let mut items = items.into_iter();
    loop {
        let part: Vec<T> = items.by_ref().take(PER_MESSAGE).collect();
        if part.is_empty() {
            return Box::pin(tokio_stream::iter(messages));
        }
        messages.push(Ok(message(part)));
    }
}
