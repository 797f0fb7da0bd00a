//! Messages with descriptors over a Unix socket, for both ends. It must not know what they mean.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::LONGEST;

/// Descriptors that one message may bring: input, output and errors.
const DESCRIPTORS: usize = 3;

/// A name for a socket that is short enough for `sockaddr_un` (107 bytes), however long its folder's is. It holds while
/// the descriptor is open.
pub fn short_name(path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other(format!("{} is no socket", path.display())));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((folder, name))
}

/// Sends one message; the socket must have room for it, as a fresh one has.
pub fn send(socket: impl AsFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let json = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&json);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let mut sent = 0;
    while sent < bytes.len() {
        let part = [IoSlice::new(&bytes[sent..])];
        sent += rustix::io::retry_on_intr(|| sendmsg(&socket, &part, &mut control, SendFlags::NOSIGNAL))?;
        control.clear();
    }
    Ok(())
}

/// What came over a socket and is not a whole message yet.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Incoming {
    /// Reads what is there; false when the other end is gone.
    pub fn fill(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            rustix::io::retry_on_intr(|| recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC))?
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.bytes.extend_from_slice(&buffer[..received.bytes]);
        Ok(received.bytes > 0)
    }

    /// The next whole message.
    pub fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
        }
        let Some(json) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(json).map_err(io::Error::other)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }

    /// The descriptors that came along so far.
    pub fn descriptors(&mut self) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::protocol::Request;

    #[test]
    fn messages_with_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/stat").unwrap();
        let request = Request::Start { container: "a".repeat(9000) };
        send(&here, &request, &[file.as_fd()]).unwrap();
        send(&here, &Request::State, &[]).unwrap();
        let mut incoming = Incoming::default();
        let mut messages = Vec::new();
        while messages.len() < 2 {
            assert!(incoming.fill(&there).unwrap());
            while let Some(message) = incoming.take::<Request>().unwrap() {
                messages.push(message);
            }
        }
        assert_eq!(messages, [request, Request::State]);
        let mut descriptors = incoming.descriptors();
        let mut text = String::new();
        File::from(descriptors.pop_front().unwrap()).read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&std::process::id().to_string()));
        assert!(descriptors.is_empty());
        drop(here);
        assert!(!incoming.fill(&there).unwrap());
    }

    #[test]
    fn long_paths() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("a".repeat(100));
        std::fs::create_dir(&long).unwrap();
        let path = long.join("a.sock");
        let (_folder, name) = short_name(&path).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&name).unwrap();
        let (_other, name) = short_name(&path).unwrap();
        UnixStream::connect(&name).unwrap();
    }

    #[test]
    fn too_long() {
        let mut incoming = Incoming { bytes: vec![255, 0, 0, 0, 1], ..Incoming::default() };
        assert!(incoming.take::<Request>().is_err());
    }
}
