import Hypervisor
import Testing

@Test func kvm_opens_onThisHost() throws { _ = try KVM.open().createVirtualMachine() }
