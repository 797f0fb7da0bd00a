//! The kernel command line, the same in every format.

use crate::arch::Arch;

/// Words that every image needs, then the image's own.
pub fn kernel_arguments(arch: Arch, extra: &[String]) -> String {
    let serial = format!("console={}", arch.serial_console());
    let mut words = vec![
        // PID 1 mounts rootfs.erofs from a file of the initrd; tmpfs cannot back a mount, ramfs can.
        "rootfstype=ramfs",
        // The last console is /dev/console. A machine without a serial port ignores it.
        "console=tty0",
        &serial,
        // Kernel messages below warnings go to the log only: printing them costs boot time on slow serial ports.
        "loglevel=4",
        // No bond0, dummy0, ifb0, ifb1, tunl0 and ip6tnl0 that nobody made: they would be in every listing of
        // links, and the tunnels in every pod's network namespace.
        "bonding.max_bonds=0",
        "dummy.numdummies=0",
        "ifb.numifbs=0",
        "fb_tunnels=none",
        // A kernel that crashed reboots after ten seconds, so that an unattended host comes back.
        "panic=10",
    ];
    words.extend(extra.iter().map(String::as_str));
    words.join(" ")
}
