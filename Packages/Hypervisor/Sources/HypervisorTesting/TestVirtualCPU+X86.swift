public import Hypervisor
internal import Synchronization

/// The x86 registers that a `TestVirtualCPU` was given, and the order in which.
public struct TestX86State: Equatable, Sendable {
    public enum Call: Equatable, Sendable { case cpuid, general, special, fpu, msrs, localInterrupts }
    public var calls: [Call] = []
    public var supportedCPUID: [CPUIDEntry] = []
    public var cpuid: [CPUIDEntry] = []
    public var general = X86GeneralRegisters()
    public var special = X86SpecialRegisters.zero
    public var controlWord: UInt16 = 0
    public var mxcsr: UInt32 = 0
    public var msrs: [MSREntry] = []
    /// MSRs that are refused.
    public var refusedMSRs: Set<UInt32> = []
    public var lint0: UInt32 = 0
    public var lint1: UInt32 = 0
}

extension X86SpecialRegisters {
    public static let zero: X86SpecialRegisters = {
        let segment = X86SegmentRegister(selector: 0, base: 0, limit: 0, attributes: 0)
        let table = X86TableRegister(base: 0, limit: 0)
        return X86SpecialRegisters(
            cs: segment, ds: segment, es: segment, fs: segment, gs: segment, ss: segment, tr: segment, ldt: segment, gdt: table, idt: table,
            cr0: 0, cr3: 0, cr4: 0, efer: 0)
    }()
}

extension TestVirtualCPU: X86VirtualCPU {
    /// To be looked at, or prepared before the vCPU starts.
    public var x86State: TestX86State {
        get { state.withLock { $0.x86 } }
        set { state.withLock { $0.x86 = newValue } }
    }

    private func record(_ call: TestX86State.Call, _ body: (inout TestX86State) -> Void) {
        state.withLock { state in
            state.x86.calls.append(call)
            body(&state.x86)
        }
    }

    public func supportedCPUID() throws(HypervisorError) -> [CPUIDEntry] { x86State.supportedCPUID }
    public var hasTSCDeadlineTimer: Bool { true }

    public func setCPUID(_ entries: [CPUIDEntry]) throws(HypervisorError) { record(.cpuid) { $0.cpuid = entries } }
    public func setGeneralRegisters(_ registers: X86GeneralRegisters) throws(HypervisorError) { record(.general) { $0.general = registers } }
    public func generalRegisters() throws(HypervisorError) -> X86GeneralRegisters { x86State.general }
    public func setSpecialRegisters(_ registers: X86SpecialRegisters) throws(HypervisorError) { record(.special) { $0.special = registers } }
    public func specialRegisters() throws(HypervisorError) -> X86SpecialRegisters { x86State.special }
    public func setFPUControl(controlWord: UInt16, mxcsr: UInt32) throws(HypervisorError) {
        record(.fpu) { ($0.controlWord, $0.mxcsr) = (controlWord, mxcsr) }
    }

    public func setMSRs(_ entries: ArraySlice<MSREntry>) throws(HypervisorError) -> Int {
        var count = 0
        record(.msrs) { x86 in
            for entry in entries {
                guard !x86.refusedMSRs.contains(entry.index) else { return }
                x86.msrs.append(entry)
                count += 1
            }
        }
        return count
    }

    public func msr(_ index: UInt32) throws(HypervisorError) -> UInt64 { x86State.msrs.last { $0.index == index }?.value ?? 0 }
    public func setLocalInterrupts(lint0: UInt32, lint1: UInt32) throws(HypervisorError) {
        record(.localInterrupts) { ($0.lint0, $0.lint1) = (lint0, lint1) }
    }
    public func localInterrupts() throws(HypervisorError) -> (lint0: UInt32, lint1: UInt32) {
        let x86 = x86State
        return (x86.lint0, x86.lint1)
    }
}
