//! Streams of answers: a producer that runs only as fast as the caller reads, and ends with the call.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc::{self, Receiver, Sender};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Response, Status};

/// Answers that wait to be sent.
const WAITING: usize = 2;

type Producer = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// A stream of answers.
pub(crate) struct Feed<T> {
    answers: Receiver<T>,
    producer: Option<Producer>,
    failure: Option<Status>,
}

impl<T> Feed<T> {
    /// The answers of what `make` makes of a sender. A sender that fails means that the caller has gone.
    pub(crate) fn new<F>(make: impl FnOnce(Sender<T>) -> F) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (sender, answers) = mpsc::channel(WAITING);
        Self { answers, producer: Some(Box::pin(make(sender))), failure: None }
    }

    /// The same as a response.
    pub(crate) fn response<F>(make: impl FnOnce(Sender<T>) -> F) -> Response<Self>
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        Response::new(Self::new(make))
    }
}

impl<T> Stream for Feed<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(producer) = &mut self.producer
            && let Poll::Ready(ended) = producer.as_mut().poll(cx)
        {
            self.producer = None;
            self.failure = ended.err();
        }
        match std::task::ready!(self.answers.poll_recv(cx)) {
            Some(answer) => Poll::Ready(Some(Ok(answer))),
            None => Poll::Ready(self.failure.take().map(Err)),
        }
    }
}

impl<T> std::fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feed(..)")
    }
}

/// Sends; says whether somebody still reads.
pub(crate) async fn send<T>(sender: &Sender<T>, answer: T) -> bool {
    sender.send(answer).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::codegen::tokio_stream::StreamExt as _;

    #[tokio::test]
    async fn answers_then_the_failure() {
        let mut feed = Feed::new(|sender| async move {
            for number in 0..5 {
                assert!(send(&sender, number).await);
            }
            Err(Status::not_found("gone"))
        });
        for number in 0..5 {
            assert_eq!(feed.next().await.unwrap().unwrap(), number);
        }
        assert_eq!(feed.next().await.unwrap().unwrap_err().message(), "gone");
        assert!(feed.next().await.is_none());
    }
}
