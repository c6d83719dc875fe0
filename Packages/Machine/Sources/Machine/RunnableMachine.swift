public import MachineManager

/// A machine in the hands of a program, of which everything exists: `start`, the event loop until something ends it, `shutDown`. The event loop's thread, but `end` and `endReason`.
public protocol RunnableMachine: MachineControl {
    /// Where events go. Weak.
    func reportEvents(to sink: any MachineEventSink)
    func start() throws(MachineError)
    /// Makes the event loop's `run` return soon; the first reason counts. Any thread.
    func end(_ reason: ShutdownReason)
    /// Any thread.
    var endReason: ShutdownReason? { get }
    /// After the loop has ended.
    func shutDown()
}

extension MicroVM: RunnableMachine {}
