import AddressSpace
@testable import Hypervisor
import LinuxSys
import Testing

@Suite struct KVMSetupTests {
    @Test func open_noDevice_saysSoInOneSentence() {
        let error = #expect(throws: HypervisorError.self) { try KVM.open(path: "/nowhere/kvm") }
        #expect(error == .noDevice(path: "/nowhere/kvm"))
        #expect(error?.description == "cannot open /nowhere/kvm: no such device; is the kvm module loaded?")
    }

    @Test func open_somethingElse_isRefusedByItsAnswer() {
        let error = #expect(throws: HypervisorError.self) { try KVM.open(path: "/dev/null") }
        #expect(error?.description == "/dev/null is not a KVM device")
    }

    @Test func openError_eachErrno_hasItsOwnSentence() {
        #expect(KVM.openError(path: "/dev/kvm", .accessDenied).description
            == "cannot open /dev/kvm: permission denied; is this user in the group that owns it?")
        #expect(KVM.openError(path: "/dev/kvm", .noSuchDevice) == .noDevice(path: "/dev/kvm"))
        #expect(KVM.openError(path: "/dev/kvm", Errno(24)) == .cannotOpen(path: "/dev/kvm", Errno(24)))
    }

    @Test func errors_descriptions_nameWhatIsMissing() {
        #expect(HypervisorError.wrongAPIVersion(found: 11).description == "KVM API version is 11, but version 12 is needed")
        #expect(HypervisorError.missingCapability("KVM_CAP_IRQFD").description == "KVM lacks the capability KVM_CAP_IRQFD")
        #expect(HypervisorError.noSuchInterruptLine(gsi: 1, limit: 0).description == "interrupt line 1 does not exist: there is no interrupt controller")
        #expect(HypervisorError.call("KVM_CREATE_VM", .noMemory).description == "KVM_CREATE_VM failed: Cannot allocate memory")
    }

    @Test func capabilities_eachRequired_isThereOnThisHost() throws {
        let kvm = try KVM.open()
        for capability in KVMCapability.required + KVMCapability.requiredByArchitecture {
            #expect(kvm.value(of: capability) > 0, "\(capability.name)")
        }
    }

    @Test func interruptLine_beyondTheIOAPIC_isRefused() throws {
        let machine = try KVM.open().createVirtualMachine()
        try machine.createIRQChip()
        let error = #expect(throws: HypervisorError.self) { try machine.makeInterruptLine(gsi: 24) }
        #expect(error?.description == "interrupt line 24 does not exist: lines are 0 to 23")
        for gsi: UInt32 in 0..<24 { _ = try machine.makeInterruptLine(gsi: gsi) }
    }

    @Test func interruptLine_madeAgainAfterRelease_works() throws {
        let machine = try KVM.open().createVirtualMachine()
        try machine.createIRQChip()
        for _ in 0..<3 { try machine.makeInterruptLine(gsi: 5).pulse() }
    }

    @Test func createVCPU_idBeyondTheHost_isRefused() throws {
        let machine = try KVM.open().createVirtualMachine()
        try machine.createIRQChip()
        #expect(throws: HypervisorError.self) { try machine.createVCPU(id: .max) }
        _ = try machine.createVCPU(id: 3)
        // The same id again is the kernel's error, not ours.
        let error = #expect(throws: HypervisorError.self) { try machine.createVCPU(id: 3) }
        #expect(error == .call("KVM_CREATE_VCPU", .exists))
    }

    @Test func createIRQChip_afterAVCPU_isAnErrorNotATrap() throws {
        let machine = try KVM.open().createVirtualMachine()
        _ = try machine.createVCPU(id: 0)
        #expect(throws: HypervisorError.self) { try machine.createIRQChip() }
    }

    @Test func registers_setAndRead_areTheSame() throws {
        let guest = try Guest([0xF4])
        try guest.enterLongMode()
        let x86 = try #require(guest.cpu.x86)
        let special = try x86.specialRegisters()
        #expect(special.cs.attributes == 0xA09B)
        #expect(special.ds.attributes == 0xC093)
        #expect(special.cr3 == 0x9000)
        #expect(special.efer == 0x500)
        var general = X86GeneralRegisters()
        (general.rax, general.r15, general.rsi, general.rip) = (1, 2, 3, 0x1000)
        try x86.setGeneralRegisters(general)
        #expect(try x86.generalRegisters() == general)
        #expect(try x86.setMSRs([MSREntry(index: 0xC000_0082, value: 0xFFFF_8000_0000_1000)]) == 1)
        #expect(try x86.msr(0xC000_0082) == 0xFFFF_8000_0000_1000)
        #expect(try x86.setMSRs([MSREntry(index: 0xDEAD_BEEF, value: 1)]) == 0)
        try x86.setLocalInterrupts(lint0: 0x700, lint1: 0x400)
        #expect(try x86.localInterrupts() == (0x700, 0x400))
        try x86.setMPState(.uninitialized)
        #expect(try x86.mpState() == .uninitialized)
    }

    @Test func supportedCPUID_hasTheHostsNameAndIsAskedOnce() throws {
        let machine = try KVM.open().createVirtualMachine()
        let entries = try machine.supportedCPUID()
        #expect(entries == (try machine.supportedCPUID()))
        let brand = entries.first { $0.function == 0x8000_0002 }
        #expect(brand.map { $0.eax | $0.ebx | $0.ecx | $0.edx } != 0)
    }

    @Test func brandString_givenByTheHypervisor_staysAndTheHostIsNotAsked() {
        let given = (0x8000_0002...0x8000_0004).map { CPUIDEntry(function: $0, eax: 1) }
        #expect(given.withBrandString { _ in Issue.record("asked"); return CPUIDEntry(function: 0) } == given)
        let missing: [CPUIDEntry] = [CPUIDEntry(function: 0x8000_0003)]
        let filled = missing.withBrandString { CPUIDEntry(function: $0, edx: $0 & 0xF) }
        #expect(filled.map(\.function) == [0x8000_0003, 0x8000_0002, 0x8000_0004])
        #expect(filled.map(\.edx) == [3, 2, 4])
    }
}
