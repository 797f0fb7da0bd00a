//! Whole command lines, so that a review sees every flag that changes.

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;
use crate::machine::{Forward, Kernel};

/// One flag with its value per line.
fn check(machine: &Machine, serial: Serial, want: &Expect) {
    let mut text = String::new();
    for arg in arguments(machine, serial) {
        let is_flag = arg.starts_with('-');
        if !text.is_empty() {
            text.push(if is_flag { '\n' } else { ' ' });
        }
        text.push_str(&arg);
    }
    want.assert_eq(&text);
}

#[test]
fn kernel_with_counted_clock() {
    let kernel = Kernel::new(Path::new("/a/vmlinuz"), Path::new("/a/initrd"), "console=ttyS0 quiet");
    let machine = Machine::new(Arch::X86_64)
        .firmware(Firmware::Bios)
        .kernel(kernel)
        .network(Network::None)
        .clock(Clock::Counted);
    check(
        &machine,
        Serial::Output,
        &expect![[r#"
        -machine q35
        -accel tcg
        -cpu max
        -m 1024
        -smp 1
        -nodefaults
        -no-reboot
        -display none
        -boot strict=on
        -seed 1
        -rtc base=2026-01-01T00:00:00,clock=vm
        -icount shift=0,sleep=off
        -chardev stdio,id=serial,signal=off
        -chardev socket,id=qmp,path=/run/lepton/qmp,server=on,wait=off
        -mon chardev=qmp,mode=control
        -serial chardev:serial
        -kernel /boot/kernel
        -initrd /boot/initrd
        -append console=ttyS0 quiet
        -nic none"#]],
    );
}

#[test]
fn every_bus_on_x86_64() {
    let mut machine = Machine::new(Arch::X86_64).nic(Nic::Vmxnet3);
    for bus in [Bus::VirtioBlk, Bus::Nvme, Bus::Ahci, Bus::Pvscsi, Bus::Usb, Bus::Cdrom] {
        machine = machine.disk(Disk::new(Path::new("/a/disk"), DiskFormat::Raw, bus));
    }
    check(
        &machine,
        Serial::Output,
        &expect![[r#"
        -machine q35
        -accel tcg
        -cpu max
        -m 1024
        -smp 1
        -nodefaults
        -no-reboot
        -display none
        -boot strict=on
        -chardev stdio,id=serial,signal=off
        -chardev socket,id=qmp,path=/run/lepton/qmp,server=on,wait=off
        -mon chardev=qmp,mode=control
        -serial chardev:serial
        -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd
        -drive if=pflash,format=raw,unit=1,file=/run/lepton/variables.fd
        -netdev user,id=net
        -device vmxnet3,netdev=net,mac=52:54:00:12:34:56,romfile=
        -drive if=none,id=disk0,file=/disks/0,format=raw,snapshot=on,discard=unmap
        -device virtio-blk-pci,drive=disk0,serial=disk0,bootindex=0
        -drive if=none,id=disk1,file=/disks/1,format=raw,snapshot=on,discard=unmap
        -device nvme,drive=disk1,serial=disk1,bootindex=1
        -drive if=none,id=disk2,file=/disks/2,format=raw,snapshot=on,discard=unmap
        -device ide-hd,bus=ide.2,drive=disk2,serial=disk2,bootindex=2
        -drive if=none,id=disk3,file=/disks/3,format=raw,snapshot=on,discard=unmap
        -device pvscsi,id=bus3
        -device scsi-hd,bus=bus3.0,drive=disk3,serial=disk3,bootindex=3
        -drive if=none,id=disk4,file=/disks/4,format=raw,snapshot=on,discard=unmap
        -device qemu-xhci,id=bus4
        -device usb-storage,bus=bus4.0,drive=disk4,serial=disk4,bootindex=4
        -drive if=none,id=disk5,file=/disks/5,format=raw,media=cdrom,readonly=on
        -device ide-cd,bus=ide.5,drive=disk5,serial=disk5,bootindex=5"#]],
    );
}

#[test]
fn aarch64_for_a_person() {
    let disk = Disk::new(Path::new("/a/disk"), DiskFormat::Qcow2, Bus::VirtioBlk);
    let machine = Machine::new(Arch::Aarch64)
        .disk(disk.sector_bytes(4096).writes(Writes::Keep))
        .disk(Disk::new(Path::new("/a/iso"), DiskFormat::Raw, Bus::Cdrom))
        .network(Network::Host(vec![Forward { host: 8080, guest: 80 }]))
        .fw_cfg("opt/lepton/config", "dns = [\"a\", \"b\"]");
    check(
        &machine,
        Serial::Terminal,
        &expect![[r#"
        -machine virt,gic-version=3
        -accel tcg
        -cpu max,pauth-impdef=on
        -m 1024
        -smp 1
        -nodefaults
        -no-reboot
        -display none
        -boot strict=on
        -chardev stdio,id=serial,mux=on,signal=off
        -mon chardev=serial,mode=readline
        -serial chardev:serial
        -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/AAVMF/AAVMF_CODE.fd
        -drive if=pflash,format=raw,unit=1,file=/run/lepton/variables.fd
        -netdev user,id=net,hostfwd=tcp:127.0.0.1:8080-:80
        -device virtio-net-pci,netdev=net,mac=52:54:00:12:34:56,romfile=
        -drive if=none,id=disk0,file=/disks/0,format=qcow2,discard=unmap
        -device virtio-blk-pci,drive=disk0,serial=disk0,bootindex=0,logical_block_size=4096,physical_block_size=4096
        -drive if=none,id=disk1,file=/disks/1,format=raw,media=cdrom,readonly=on
        -device virtio-scsi-pci,id=bus1
        -device scsi-cd,bus=bus1.0,drive=disk1,serial=disk1,bootindex=1
        -fw_cfg name=opt/lepton/config,string=dns = ["a",, "b"]"#]],
    );
}

#[test]
fn network_boots_come_before_disks() {
    let machine = Machine::new(Arch::X86_64)
        .disk(Disk::new(Path::new("/a/disk"), DiskFormat::Vmdk, Bus::VirtioBlk))
        .nic(Nic::E1000e);
    let (dir, file) = (Path::new("/a/pxe").to_owned(), "boot.ipxe".to_owned());
    let tftp = Network::Tftp { dir: dir.clone(), file: file.clone() };
    check(
        &machine.clone().firmware(Firmware::Bios).network(tftp),
        Serial::Output,
        &expect![[r#"
        -machine q35
        -accel tcg
        -cpu max
        -m 1024
        -smp 1
        -nodefaults
        -no-reboot
        -display none
        -boot strict=on
        -chardev stdio,id=serial,signal=off
        -chardev socket,id=qmp,path=/run/lepton/qmp,server=on,wait=off
        -mon chardev=qmp,mode=control
        -serial chardev:serial
        -netdev user,id=net,tftp=/srv/boot,bootfile=boot.ipxe
        -device e1000e,netdev=net,mac=52:54:00:12:34:56,bootindex=0
        -drive if=none,id=disk0,file=/disks/0,format=vmdk,snapshot=on,discard=unmap
        -device virtio-blk-pci,drive=disk0,serial=disk0,bootindex=1"#]],
    );
    check(
        &machine.network(Network::Http { dir, file }),
        Serial::Output,
        &expect![[r#"
        -machine q35
        -accel tcg
        -cpu max
        -m 1024
        -smp 1
        -nodefaults
        -no-reboot
        -display none
        -boot strict=on
        -chardev stdio,id=serial,signal=off
        -chardev socket,id=qmp,path=/run/lepton/qmp,server=on,wait=off
        -mon chardev=qmp,mode=control
        -serial chardev:serial
        -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd
        -drive if=pflash,format=raw,unit=1,file=/run/lepton/variables.fd
        -fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=no
        -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=no
        -fw_cfg name=opt/org.tianocore/IPv6Support,string=no
        -netdev tap,id=net,ifname=boot0,script=no,downscript=no
        -device e1000e,netdev=net,mac=52:54:00:12:34:56,romfile=,bootindex=0
        -drive if=none,id=disk0,file=/disks/0,format=vmdk,snapshot=on,discard=unmap
        -device virtio-blk-pci,drive=disk0,serial=disk0,bootindex=1"#]],
    );
}

#[test]
fn cards_of_a_field() {
    let field = Network::Field { cards: 2, setup: String::new() };
    let machine =
        Machine::new(Arch::X86_64).firmware(Firmware::Bios).date("2020-01-01T00:00:00").network(field);
    let text = arguments(&machine, Serial::Output).join(" ");
    let found = text.split_once("-rtc ").map(|(_, rest)| rest).unwrap_or_default();
    expect![[r#"
        base=2020-01-01T00:00:00
        -chardev stdio,id=serial,signal=off
        -chardev socket,id=qmp,path=/run/lepton/qmp,server=on,wait=off
        -mon chardev=qmp,mode=control
        -serial chardev:serial
        -netdev tap,id=net0,ifname=net0,vnet_hdr=off,script=no,downscript=no
        -device virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,speed=1000,duplex=full,romfile=
        -netdev tap,id=net1,ifname=net1,vnet_hdr=off,script=no,downscript=no
        -device virtio-net-pci,netdev=net1,mac=52:54:00:12:34:57,speed=1000,duplex=full,romfile="#]]
    .assert_eq(&found.replace(" -", "\n-"));
    assert_eq!(mac(11), "52:54:00:12:34:61");
}
