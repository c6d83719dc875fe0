#if arch(x86_64)
internal import CKVM

// Between the kernel's structures and ours.

extension kvm_regs {
    init(_ r: X86GeneralRegisters) {
        self.init(
            rax: r.rax, rbx: r.rbx, rcx: r.rcx, rdx: r.rdx, rsi: r.rsi, rdi: r.rdi, rsp: r.rsp, rbp: r.rbp,
            r8: r.r8, r9: r.r9, r10: r.r10, r11: r.r11, r12: r.r12, r13: r.r13, r14: r.r14, r15: r.r15,
            rip: r.rip, rflags: r.rflags)
    }
}

extension X86GeneralRegisters {
    init(_ r: kvm_regs) {
        self.init()
        (rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp) = (r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp)
        (r8, r9, r10, r11, r12, r13, r14, r15) = (r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15)
        (rip, rflags) = (r.rip, r.rflags)
    }
}

extension kvm_segment {
    init(_ s: X86SegmentRegister) {
        func bits(_ shift: UInt16, _ mask: UInt16) -> UInt8 { UInt8(truncatingIfNeeded: s.attributes >> shift & mask) }
        let present = bits(7, 1)
        self.init(
            base: s.base, limit: s.limit, selector: s.selector, type: bits(0, 0xF), present: present, dpl: bits(5, 3),
            db: bits(14, 1), s: bits(4, 1), l: bits(13, 1), g: bits(15, 1), avl: bits(12, 1), unusable: present ^ 1, padding: 0)
    }
}

extension X86SegmentRegister {
    init(_ s: kvm_segment) {
        var attributes = UInt16(s.type & 0xF) | UInt16(s.s & 1) << 4 | UInt16(s.dpl & 3) << 5 | UInt16(s.present & 1) << 7
        attributes |= UInt16(s.avl & 1) << 12 | UInt16(s.l & 1) << 13 | UInt16(s.db & 1) << 14 | UInt16(s.g & 1) << 15
        self.init(selector: s.selector, base: s.base, limit: s.limit, attributes: attributes)
    }
}

extension kvm_sregs {
    mutating func apply(_ r: X86SpecialRegisters) {
        (cs, ds, es) = (kvm_segment(r.cs), kvm_segment(r.ds), kvm_segment(r.es))
        (fs, gs, ss) = (kvm_segment(r.fs), kvm_segment(r.gs), kvm_segment(r.ss))
        (tr, ldt) = (kvm_segment(r.tr), kvm_segment(r.ldt))
        gdt = kvm_dtable(base: r.gdt.base, limit: r.gdt.limit, padding: (0, 0, 0))
        idt = kvm_dtable(base: r.idt.base, limit: r.idt.limit, padding: (0, 0, 0))
        (cr0, cr3, cr4, efer) = (r.cr0, r.cr3, r.cr4, r.efer)
    }
}

extension X86SpecialRegisters {
    init(_ r: kvm_sregs) {
        self.init(
            cs: X86SegmentRegister(r.cs), ds: X86SegmentRegister(r.ds), es: X86SegmentRegister(r.es), fs: X86SegmentRegister(r.fs),
            gs: X86SegmentRegister(r.gs), ss: X86SegmentRegister(r.ss), tr: X86SegmentRegister(r.tr), ldt: X86SegmentRegister(r.ldt),
            gdt: X86TableRegister(base: r.gdt.base, limit: r.gdt.limit), idt: X86TableRegister(base: r.idt.base, limit: r.idt.limit),
            cr0: r.cr0, cr3: r.cr3, cr4: r.cr4, efer: r.efer)
    }
}
#endif
