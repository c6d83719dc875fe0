import AddressSpace
@testable import Hypervisor
import LinuxSys
import Testing

/// A machine with 64 KiB of RAM at 0, in-kernel interrupt controllers, and one vCPU that runs a few instructions at 0x1000. These tests need a working
/// /dev/kvm and fail without one.
struct Guest {
    static let code: UInt64 = 0x1000
    let machine: KVMVirtualMachine
    let memory: AddressSpace
    let ports: AddressSpace
    let cpu: any VirtualCPU

    init(_ instructions: [UInt8]) throws {
        machine = try KVM.open().createVirtualMachine()
        try machine.createIRQChip()
        memory = AddressSpace(name: "memory", size: 1 << 40)
        ports = AddressSpace(name: "ports", size: 1 << 16)
        try memory.addListener(machine.memoryListener())
        try ports.addListener(machine.portListener())
        let ram = try HostMemory.anonymous(size: 0x10000)
        try memory.root.add(try Region.ram(name: "ram", size: 0x10000, memory: ram), at: 0)
        try memory.memory.write(at: Guest.code, bytes: instructions)
        cpu = try machine.createVCPU(id: 0)
    }

    private func registers() throws -> any X86VirtualCPU {
        let x86 = try #require(cpu.x86)
        try x86.setCPUID(x86.supportedCPUID())
        var general = X86GeneralRegisters()
        general.rip = Guest.code
        general.rsp = 0x8FF0
        try x86.setGeneralRegisters(general)
        return x86
    }

    /// 64-bit mode; 2 MiB pages map 0...1 GiB and 2...3 GiB to themselves.
    func enterLongMode() throws {
        let table: UInt64 = 3
        try memory.memory.store(0xA000 | table, at: 0x9000)
        for (index, directory) in [(UInt64(0), UInt64(0xB000)), (2, 0xC000)] {
            try memory.memory.store(directory | table, at: 0xA000 + 8 * index)
            for page in 0..<UInt64(512) { try memory.memory.store(index << 30 | page << 21 | 0x83, at: directory + 8 * page) }
        }
        try registers().setSpecialRegisters(Guest.special(code: 0xA09B, cr0: 0x8000_0011, cr3: 0x9000, cr4: 0x20, efer: 0x500))
    }

    /// 32-bit mode without paging, and an IDT of 0x31 entries at 0x2000 of which the last leads to `handler`.
    func enterFlatMode(handler: UInt32) throws {
        let x86 = try registers()
        // GDT at 0x500: null, null, code 0x10, data 0x18, for the handler's entry and the return from it.
        try memory.memory.store(UInt64(0x00CF_9B00_0000_FFFF), at: 0x510)
        try memory.memory.store(UInt64(0x00CF_9300_0000_FFFF), at: 0x518)
        let gate = UInt64(handler & 0xFFFF) | 0x10 << 16 | 0x8E00 << 32 | UInt64(handler >> 16) << 48
        try memory.memory.store(gate, at: 0x2000 + 8 * 0x30)
        var special = Guest.special(code: 0xC09B, cr0: 0x11, cr3: 0, cr4: 0, efer: 0)
        special.gdt = X86TableRegister(base: 0x500, limit: 31)
        special.idt = X86TableRegister(base: 0x2000, limit: 8 * 0x31 - 1)
        try x86.setSpecialRegisters(special)
    }

    static func special(code: UInt16, cr0: UInt64, cr3: UInt64, cr4: UInt64, efer: UInt64) -> X86SpecialRegisters {
        let data = X86SegmentRegister(selector: 0x18, base: 0, limit: 0xFFFF_FFFF, attributes: 0xC093)
        let none = X86TableRegister(base: 0, limit: 0)
        return X86SpecialRegisters(
            cs: X86SegmentRegister(selector: 0x10, base: 0, limit: 0xFFFF_FFFF, attributes: code), ds: data, es: data, fs: data, gs: data, ss: data,
            tr: X86SegmentRegister(selector: 0, base: 0, limit: 0xFFFF, attributes: 0x8B),
            ldt: X86SegmentRegister(selector: 0, base: 0, limit: 0xFFFF, attributes: 0x82), gdt: none, idt: none,
            cr0: cr0, cr3: cr3, cr4: cr4, efer: efer)
    }

    /// The next exit that is not an interruption.
    func run() -> VCPUExit {
        while true {
            switch cpu.run() {
            case .again, .interrupted: continue
            case let exit: return exit
            }
        }
    }
}
