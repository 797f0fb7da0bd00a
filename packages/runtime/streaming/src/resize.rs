//! Reads the sizes of a client's window: JSON objects one after another, cut anywhere.
//!
//! What is no size ends the reading, as in Kubernetes; the call goes on without.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::backend::{ResizeSender, TerminalSize};

/// Bytes of one size; the longest that makes sense has 35.
const LIMIT: usize = 1024;

/// Collects bytes until they are a size.
#[derive(Debug)]
pub(crate) struct ResizeReader {
    buffer: Vec<u8>,
    /// Gone when no more sizes are read.
    sender: Option<ResizeSender>,
}

impl ResizeReader {
    pub(crate) fn new(sender: ResizeSender) -> Self {
        Self { buffer: Vec::new(), sender: Some(sender) }
    }

    /// The next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let Some(sender) = &self.sender else { return };
        self.buffer.extend(bytes);
        let mut sizes = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<TerminalSize>();
        let failed = loop {
            match sizes.next() {
                Some(Ok(size)) => sender.send(size),
                Some(Err(error)) => break !error.is_eof(),
                None => break false,
            }
        };
        let read = sizes.byte_offset();
        self.buffer.drain(..read);
        if failed || self.buffer.len() > LIMIT {
            self.end();
        }
    }

    /// No more will come.
    pub(crate) fn end(&mut self) {
        self.sender = None;
        self.buffer = Vec::new();
    }

    /// Reads a whole stream.
    pub(crate) async fn read(mut self, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            self.push(&buffer[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::resizes;

    const SIZE: TerminalSize = TerminalSize { width: 80, height: 24 };

    #[tokio::test]
    async fn sizes_may_come_byte_by_byte() {
        let (sender, mut sizes) = resizes();
        let mut reader = ResizeReader::new(sender);
        for byte in br#"{"Width":80,"Height":24}"# {
            reader.push(&[*byte]);
        }
        assert_eq!(sizes.next().await, Some(SIZE));
        reader.push(b"\n{\"Width\":1,\"Height\":1}\n{\"Width\":80,\"Height\":24}\n{\"Wid");
        assert_eq!(sizes.next().await, Some(SIZE));
        reader.end();
        assert_eq!(sizes.next().await, None);
    }

    #[tokio::test]
    async fn what_is_no_size_ends_the_reading() {
        for text in ["nonsense", "{\"Width\":-1}", &"[".repeat(5), &" ".repeat(2000), "\""] {
            let (sender, mut sizes) = resizes();
            let mut reader = ResizeReader::new(sender);
            reader.push(text.as_bytes());
            reader.push("x".repeat(2000).as_bytes());
            assert_eq!(sizes.next().await, None, "{text}");
        }
    }
}
