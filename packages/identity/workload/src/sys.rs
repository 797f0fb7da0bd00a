//! Options of Unix sockets that no safe crate offers: a descriptor of the process at the other end, and its groups
//! (unix(7), socket(7)); and a descriptor that Tokio waits for.
#![expect(
    unsafe_code,
    reason = "no safe crate offers these socket options, and Tokio cannot know what a descriptor is"
)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use libc::{SO_PEERGROUPS, SO_PEERPIDFD, SOL_SOCKET, socklen_t};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor of the process that connected (pidfd_open(2)): it never means another one.
///
/// `ENOPROTOOPT` on kernels before 6.5; an error, too, when the process is gone.
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut number: RawFd = -1;
    let mut length = length_of::<RawFd>();
    // SAFETY: the kernel writes one number of that length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut number).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if number < 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: the kernel made this descriptor for us just now, closed at exec.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The supplementary groups that the process had when it connected (Linux 4.13).
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    // Most processes have few; the kernel says how many when there are more.
    let mut groups = vec![0_u32; 32];
    loop {
        let mut length = socklen_t::try_from(size_of_val(&*groups)).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most the given length, which is that of the vector.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// Tokio waits for this descriptor, until it can be read.
pub(crate) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is made of it, and nobody replaces or closes it before.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

fn length_of<T>() -> socklen_t {
    // A few bytes.
    socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}
