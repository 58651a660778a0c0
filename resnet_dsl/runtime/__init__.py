"""The parts of which emitted training scripts are made: ordinary Python over the standard library, numpy, torch and
torchvision. `train` is the script before a recipe is chosen; every other module holds functions and small classes that
take all they need as arguments. The emitter folds the settings into `train` and links from the rest what is left of it;
`resnet-dsl eval` imports the same modules, so that data is read and networks are run in one way everywhere."""
