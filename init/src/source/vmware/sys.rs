//! One call of VMware's hypervisor: the only instructions of PID 1 that Rust cannot say.
//!
//! UNSAFETY: inline assembly. Under another hypervisor the instruction would end the process, so [`Backdoor`] can be made
//! only after the processor has named VMware.
#![expect(unsafe_code, reason = "Rust has no words for a call of the hypervisor")]

use std::arch::asm;

use super::rpc::{Port, Registers};

/// The right to call the hypervisor.
#[derive(Debug)]
pub(super) struct Backdoor(());

#[cfg(target_arch = "x86_64")]
impl Backdoor {
    /// Asks the processor for its hypervisor (leaf 0x4000_0000): `VMwareVMware` in ebx, ecx and edx.
    pub(super) fn detect() -> Option<Self> {
        use std::arch::x86_64::__cpuid;
        const HAS_HYPERVISOR: u32 = 1 << 31;
        if __cpuid(1).ecx & HAS_HYPERVISOR == 0 {
            return None;
        }
        let leaf = __cpuid(0x4000_0000);
        let name: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx].into_iter().flat_map(u32::to_le_bytes).collect();
        (name == b"VMwareVMware").then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Port for Backdoor {
    fn call(&mut self, registers: Registers) -> Registers {
        let Registers { mut eax, ebx, mut ecx, mut edx, mut esi, mut edi } = registers;
        let mut rbx = u64::from(ebx);
        // SAFETY: VMware's hypervisor takes `in` on this port as a call, also from user mode; it changes only these
        // registers and no memory. LLVM keeps rbx for itself, so it is exchanged around the instruction.
        unsafe {
            asm!(
                "xchg {rbx}, rbx",
                "in eax, dx",
                "xchg {rbx}, rbx",
                rbx = inout(reg) rbx,
                inout("eax") eax, inout("ecx") ecx, inout("edx") edx, inout("esi") esi, inout("edi") edi,
                options(nostack),
            );
        }
        let [a, b, c, d, ..] = rbx.to_le_bytes();
        Registers { eax, ebx: u32::from_le_bytes([a, b, c, d]), ecx, edx, esi, edi }
    }
}

#[cfg(target_arch = "aarch64")]
impl Backdoor {
    /// There is no instruction to ask with in user mode: the vendor in the firmware's tables, which is asked before,
    /// decides.
    pub(super) fn detect() -> Option<Self> {
        Some(Self(()))
    }
}

#[cfg(target_arch = "aarch64")]
impl Port for Backdoor {
    fn call(&mut self, registers: Registers) -> Registers {
        /// In x7: the mark of an x86 port access in the high half, and `in` of four bytes with all registers.
        const IN_DWORD: u64 = 0x86 << 32 | 1 << 3 | 1 << 2 | 2;
        let [mut x0, mut x1, mut x2] = [registers.eax, registers.ebx, registers.ecx].map(u64::from);
        let [mut x3, mut x4, mut x5] = [registers.edx, registers.esi, registers.edi].map(u64::from);
        // SAFETY: VMware's hypervisor takes the read of this register as a call; it changes only these registers and no
        // memory.
        unsafe {
            asm!(
                "mrs xzr, mdccsr_el0",
                inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3, inout("x4") x4, inout("x5") x5,
                in("x7") IN_DWORD,
                options(nostack),
            );
        }
        let [eax, ebx, ecx, edx, esi, edi] = [x0, x1, x2, x3, x4, x5].map(|register| {
            let [a, b, c, d, ..] = register.to_le_bytes();
            u32::from_le_bytes([a, b, c, d])
        });
        Registers { eax, ebx, ecx, edx, esi, edi }
    }
}
