public import Hypervisor
internal import Synchronization

/// Something that a `TestVirtualMachine` or one of its vCPUs was asked to do.
public enum TestCall: Equatable, Sendable {
    case irqChip
    case createVCPU(id: UInt32)
    case interruptLine(gsi: UInt32)
    case gic(GICLayout, vcpus: Int)
    case aarch64(vcpu: UInt32, TestAArch64State.Call)
}

/// What a machine and its vCPUs were asked, in one order. Any thread.
final class TestLog: Sendable {
    private let entries = Mutex<[TestCall]>([])

    func add(_ call: TestCall) { entries.withLock { $0.append(call) } }
    var calls: [TestCall] { entries.withLock { $0 } }
}
