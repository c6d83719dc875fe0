// The registers of an x86 processor as plain data; compiled on every host.

/// General-purpose registers.
public struct X86GeneralRegisters: Equatable, Sendable {
    public var rax: UInt64 = 0, rbx: UInt64 = 0, rcx: UInt64 = 0, rdx: UInt64 = 0
    public var rsi: UInt64 = 0, rdi: UInt64 = 0, rsp: UInt64 = 0, rbp: UInt64 = 0
    public var r8: UInt64 = 0, r9: UInt64 = 0, r10: UInt64 = 0, r11: UInt64 = 0
    public var r12: UInt64 = 0, r13: UInt64 = 0, r14: UInt64 = 0, r15: UInt64 = 0
    public var rip: UInt64 = 0
    /// Bit 1 is always set (Intel SDM vol. 1, 3.4.3).
    public var rflags: UInt64 = 2

    public init() {}
}

/// A segment register with its hidden part.
public struct X86SegmentRegister: Equatable, Sendable {
    public var selector: UInt16
    public var base: UInt64
    /// In bytes, after the granularity bit was applied.
    public var limit: UInt32
    /// Bits 40 to 55 of the descriptor (Intel SDM vol. 3, figure 3-8): type 0...3, S 4, DPL 5...6, P 7, AVL 12, L 13, D/B 14, G 15; bits
    /// 8...11 (limit) are ignored.
    public var attributes: UInt16

    public init(selector: UInt16, base: UInt64, limit: UInt32, attributes: UInt16) {
        self.selector = selector
        self.base = base
        self.limit = limit
        self.attributes = attributes
    }
}

/// GDTR or IDTR.
public struct X86TableRegister: Equatable, Sendable {
    public var base: UInt64
    public var limit: UInt16

    public init(base: UInt64, limit: UInt16) {
        self.base = base
        self.limit = limit
    }
}

/// Segment, table and control registers. What is not here (the APIC's base, CR2, CR8) keeps its value.
public struct X86SpecialRegisters: Equatable, Sendable {
    public var cs: X86SegmentRegister, ds: X86SegmentRegister, es: X86SegmentRegister
    public var fs: X86SegmentRegister, gs: X86SegmentRegister, ss: X86SegmentRegister
    public var tr: X86SegmentRegister, ldt: X86SegmentRegister
    public var gdt: X86TableRegister, idt: X86TableRegister
    public var cr0: UInt64, cr3: UInt64, cr4: UInt64, efer: UInt64

    public init(
        cs: X86SegmentRegister, ds: X86SegmentRegister, es: X86SegmentRegister, fs: X86SegmentRegister, gs: X86SegmentRegister,
        ss: X86SegmentRegister, tr: X86SegmentRegister, ldt: X86SegmentRegister, gdt: X86TableRegister, idt: X86TableRegister,
        cr0: UInt64, cr3: UInt64, cr4: UInt64, efer: UInt64
    ) {
        (self.cs, self.ds, self.es, self.fs, self.gs, self.ss) = (cs, ds, es, fs, gs, ss)
        (self.tr, self.ldt, self.gdt, self.idt) = (tr, ldt, gdt, idt)
        (self.cr0, self.cr3, self.cr4, self.efer) = (cr0, cr3, cr4, efer)
    }
}

/// A model-specific register and its value.
public struct MSREntry: Equatable, Sendable {
    public var index: UInt32
    public var value: UInt64

    public init(index: UInt32, value: UInt64) {
        self.index = index
        self.value = value
    }
}
