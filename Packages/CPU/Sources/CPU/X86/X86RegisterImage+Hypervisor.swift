internal import Hypervisor

extension X86RegisterImage {
    var general: X86GeneralRegisters {
        var general = X86GeneralRegisters()
        (general.rip, general.rsp, general.rbp) = (rip, rsp, rbp)
        (general.rsi, general.rbx, general.rflags) = (rsi, rbx, rflags)
        return general
    }

    var special: X86SpecialRegisters {
        X86SpecialRegisters(
            cs: cs.register, ds: ds.register, es: es.register, fs: fs.register, gs: gs.register, ss: ss.register, tr: tr.register,
            ldt: ldt.register, gdt: X86TableRegister(base: gdtBase, limit: gdtLimit), idt: X86TableRegister(base: idtBase, limit: idtLimit),
            cr0: cr0, cr3: cr3, cr4: cr4, efer: efer)
    }
}

extension X86Segment {
    var register: X86SegmentRegister { X86SegmentRegister(selector: selector, base: base, limit: limit, attributes: attributes) }
}
