//! Requests to the kernel about disks and file systems that no crate offers safely.
// UNSAFETY: ioctl(2) reads memory that its argument points to; every request here passes one value of the type that
// the kernel's header gives it, which lives until the call returns.
#![expect(unsafe_code, reason = "ioctl(2) has no safe form")]

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Direction, NoArg, Opcode, Setter, ioctl, opcode};

/// `BLKPG` and its `BLKPG_RESIZE_PARTITION` (linux/blkpg.h).
const BLKPG: Opcode = opcode::none(0x12, 105);
const RESIZE_PARTITION: i32 = 3;
/// `BLKRRPART` (linux/fs.h).
const REREAD: Opcode = opcode::none(0x12, 95);
/// `EXT4_IOC_RESIZE_FS` (linux/ext4.h in the kernel's sources, fs/ext4/ext4.h).
const RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);
/// `EXT4_IOC_SETFSUUID`: the size in its number is that of the struct without its flexible array.
const SET_UUID: Opcode = opcode::from_components(Direction::Write, b'f', 44, 8);

/// `struct blkpg_partition`.
#[repr(C)]
struct Partition {
    start: i64,
    length: i64,
    number: i32,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkPg {
    operation: i32,
    flags: i32,
    data_len: i32,
    data: *mut c_void,
}

/// `struct fsuuid` with a UUID.
#[repr(C)]
struct FsUuid {
    len: u32,
    flags: u32,
    uuid: [u8; 16],
}

/// Tells the kernel where a partition of `disk`, also one in use, ends; all in bytes.
pub fn resize_partition(disk: impl AsFd, number: u32, start: u64, len: u64) -> io::Result<()> {
    let signed = |value: u64| i64::try_from(value).map_err(io::Error::other);
    let mut partition = Partition {
        start: signed(start)?,
        length: signed(len)?,
        number: i32::try_from(number).map_err(io::Error::other)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let request = BlkPg {
        operation: RESIZE_PARTITION,
        flags: 0,
        data_len: i32::try_from(size_of::<Partition>()).map_err(io::Error::other)?,
        data: (&raw mut partition).cast(),
    };
    // SAFETY: BLKPG takes a pointer to this struct.
    let request = unsafe { Setter::<BLKPG, BlkPg>::new(request) };
    // SAFETY: the struct points to a partition that lives until the end of this function.
    unsafe { ioctl(disk, request) }?;
    Ok(())
}

/// Makes the kernel read the partition table of a disk that nothing uses.
pub fn reread_partitions(disk: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument.
    let request = unsafe { NoArg::<REREAD>::new() };
    // SAFETY: nothing is passed.
    unsafe { ioctl(disk, request) }?;
    Ok(())
}

/// Grows the mounted ext4 that `inside` lies on to this many blocks; returns when it has that size.
pub fn resize_ext4(inside: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: EXT4_IOC_RESIZE_FS takes a pointer to a number of 64 bits.
    let request = unsafe { Setter::<RESIZE_FS, u64>::new(blocks) };
    // SAFETY: the number lives in the request.
    unsafe { ioctl(inside, request) }?;
    Ok(())
}

/// Gives the mounted ext4 that `inside` lies on this UUID.
pub fn set_ext4_uuid(inside: impl AsFd, uuid: [u8; 16]) -> io::Result<()> {
    let request = FsUuid { len: 16, flags: 0, uuid };
    // SAFETY: EXT4_IOC_SETFSUUID takes a pointer to this struct, whose array is as long as `len` says.
    let request = unsafe { Setter::<SET_UUID, FsUuid>::new(request) };
    // SAFETY: the struct lives in the request.
    unsafe { ioctl(inside, request) }?;
    Ok(())
}
